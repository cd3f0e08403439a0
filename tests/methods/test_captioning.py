"""Methods that predict captions: likelihoods, captions written step by step, and the two ways of predicting."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, StubImage, StubText, batch, build, loaded

from counterpoint import methods
from counterpoint.networks import initialise
from counterpoint.networks.caption_decoder import CaptionDecoder, DecoderBlock, shifted
from counterpoint.networks.caption_generation import generate
from counterpoint.types import Captioner, PairScorer

CAPTIONS = ["a small red cat", "the old green hill"]
PICTURES = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def decoder(seed: int = 0) -> CaptionDecoder:
    made = CaptionDecoder(vocabulary=11, length=6, width=8, depth=2, heads=2)
    initialise(made, seed)
    torch.nn.init.normal_(made.head.weight, std=0.5, generator=torch.Generator().manual_seed(seed))
    return made.double()


def trained(name: str, **options: object) -> methods.Method:
    """Build a method whose output layer is not zero any more."""
    method = build(name, **options)
    head = method.decoder.head
    torch.nn.init.normal_(head.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    return method.eval()


def test_block_is_torchs_decoder_layer() -> None:
    block = DecoderBlock(8, 2, 1)
    initialise(block, 0)
    layer = torch.nn.TransformerDecoderLayer(
        8, 2, 32, 0.0, F.gelu, batch_first=True, norm_first=True, bias=False
    )
    own = {
        "self_attn.in_proj_weight": block.qkv.weight,
        "self_attn.out_proj.weight": block.out.weight,
        "multihead_attn.in_proj_weight": torch.cat([block.q.weight, block.kv.weight]),
        "multihead_attn.out_proj.weight": block.cross_out.weight,
        "linear1.weight": block.up.weight,
        "linear2.weight": block.down.weight,
        **{f"norm{number}.weight": norm.weight for number, norm in enumerate(block.norms, 1)},
    }
    layer.load_state_dict(own)
    x, context = (torch.randn(3, n, 8, generator=torch.Generator().manual_seed(n)) for n in (5, 4))
    causal = torch.nn.Transformer.generate_square_subsequent_mask(5)
    torch.testing.assert_close(block(x, context), layer(x, context, tgt_mask=causal))
    torch.testing.assert_close(block(x, context, causal=False), layer(x, context))


def test_first_loss_is_log_of_the_vocabulary() -> None:
    for parallel in (0.0, 0.5, 1.0):
        method = build("cappa", parallel=parallel)
        given = batch(method)
        (loss,) = method.losses(method.encode(given), given, LATE).values()
        assert loss.item() == pytest.approx(math.log(method.tokenizer.vocabulary), rel=1e-6)


def test_likelihood_is_that_of_a_plain_loop() -> None:
    made = decoder()
    targets = torch.tensor([[3, 4, 10, 0], [5, 6, 7, 10]])
    mask = torch.tensor([[True, True, True, False], [True] * 4])
    context = torch.randn(2, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    measured = made.log_likelihood(targets, mask, context)
    for row in range(2):
        total, tokens = 0.0, [made.start]
        for target in targets[row][mask[row]].tolist():
            logits = made.head(made(torch.tensor([tokens]), context[row : row + 1])[0, -1])
            total += float(logits.log_softmax(-1)[target].detach())
            tokens.append(target)
        assert measured[row].tolist() == pytest.approx([total, len(tokens) - 1])


def test_later_word_changes_no_earlier_likelihood() -> None:
    made = decoder()
    context = torch.zeros(1, 3, 8, dtype=torch.float64)
    one, other = torch.tensor([[3, 4, 5]]), torch.tensor([[3, 4, 9]])
    before = torch.tensor([[True, True, False]])
    assert torch.equal(made.log_likelihood(one, before, context), made.log_likelihood(other, before, context))


def test_at_once_a_position_knows_no_word_and_no_length() -> None:
    made = decoder()
    context = torch.randn(1, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inputs = torch.full((1, made.length), made.mask)
    logits = made.head(made(inputs, context, causal=False))[0].log_softmax(-1)
    targets = torch.tensor([[3, 4, 5]])  # not shifted: position t predicts word t
    for length in (1, 2, 3):
        mask = torch.arange(3)[None] < length
        measured = made.log_likelihood(targets, mask, context, parallel=True)
        expected = sum(float(logits[t, targets[0, t]].detach()) for t in range(length))
        assert measured[0].tolist() == pytest.approx([expected, length])


def test_parallel_is_drawn_for_whole_examples() -> None:
    method = trained("cappa", parallel=0.5)
    given = loaded(method)
    drawn = torch.arange(len(given)) % 2 == 0
    z = method.encode(replace(given, views={**given.views, "text.parallel": drawn}))["text"]
    for parallel, rows in ((1.0, drawn), (0.0, ~drawn)):
        of_all = torch.full_like(drawn, bool(parallel))
        alone = method.encode(replace(given, views={**given.views, "text.parallel": of_all}))["text"]
        torch.testing.assert_close(z[rows], alone[rows])
        assert not torch.allclose(z[~rows], alone[~rows])


def test_no_share_at_once_is_captioning_alone() -> None:
    cap, given = build("cappa", parallel=0.0), loaded(build("cappa"))
    assert cap.prepare(given, LATE) is given
    mixed = build("cappa", parallel=1e-12)
    torch.testing.assert_close(cap.encode(given), mixed.encode(mixed.prepare(given, LATE)))


def test_mean_is_over_tokens() -> None:
    method = build("cappa")
    likelihood = torch.tensor([[-2.0, 2.0], [-9.0, 4.0]])
    assert method.mean_over_tokens(likelihood).item() == pytest.approx(11 / 6)


def test_captions_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    made = decoder().float()
    context = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(2))

    def step(tokens: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        return made.head(made(tokens, states)[:, -1])

    prompts = torch.full((len(context), 1), made.start)
    written = generate(step, context, prompts=prompts, end=10, length=6)
    for row, tokens in enumerate(written):
        expected: list[int] = []
        while len(expected) < 6:
            (best,) = (
                step(torch.tensor([[made.start, *expected]]), context[row : row + 1]).argmax(-1).tolist()
            )
            if best == 10:
                break
            expected.append(best)
        assert tokens.tolist() == expected
    beams = generate(step, context, prompts=prompts, end=10, length=1, beams=3)
    assert [b.tolist() for b in beams] == [w[:1].tolist() for w in written]
    sampled = [generate(step, context, prompts=prompts, end=10, length=6, sample=True, seed=1) for _ in "ab"]
    assert all(torch.equal(a, b) for a, b in zip(*sampled, strict=True))


def test_pairs_are_scored_by_likelihood_and_without_the_picture() -> None:
    method = trained("cappa")
    assert isinstance(method, PairScorer)
    assert isinstance(method, Captioner)
    likelihood = method.log_likelihood(PICTURES, CAPTIONS)
    blind = method.log_likelihood(None, CAPTIONS)
    grey = method.log_likelihood(torch.full_like(PICTURES, 128), CAPTIONS)
    torch.testing.assert_close(blind, grey, rtol=0, atol=0.05)
    torch.testing.assert_close(method.score(PICTURES, CAPTIONS), likelihood[:, 0])
    torch.testing.assert_close(method.score(PICTURES, CAPTIONS, "pmi"), (likelihood - blind)[:, 0])
    alone = method.score(PICTURES[:1], ["a cat " * 9])  # cut at the context
    torch.testing.assert_close(alone, method.score(PICTURES[:1], ["a cat a cat a"]))
    with pytest.raises(ValueError, match="2 pictures and 1 captions"):
        method.log_likelihood(PICTURES, CAPTIONS[:1])


def test_model_without_what_is_asked_says_so() -> None:
    method = build("cappa")
    with pytest.raises(ValueError, match="no text embeddings"):
        method.embed("text", CAPTIONS)
    with pytest.raises(LookupError, match="cannot turn tokens into text"):
        method.caption(PICTURES)
    text = StubText()
    text.name = "transformer@weights"
    with pytest.raises(ValueError, match="only the tokenizer"):
        methods.create("cappa", {"image": StubImage(), "text": text}, RECIPE)


def test_start_token_of_every_text_is_not_predicted() -> None:
    class Begun(StubText):
        def __init__(self) -> None:
            super().__init__()
            words = self.tokenizer
            self.tokenizer = type(
                "T", (type(words),), {"__call__": lambda s, c: F.pad(words(c), (1, 0), value=62)}
            )()
            self.tokenizer.context = words.context + 1

    plain, begun = (
        methods.create("cappa", {"image": StubImage(), "text": text}, RECIPE)
        for text in (StubText(), Begun())
    )
    assert (plain.skipped, begun.skipped, begun.length) == (0, 1, plain.length)
    tokens = plain.tokenizer(CAPTIONS)
    assert torch.equal(begun.targets_of(F.pad(tokens, (1, 0), value=62))[0], plain.targets_of(tokens)[0])
    assert shifted(tokens, 64)[0].tolist() == [64, *tokens[0, :-1].tolist()]
