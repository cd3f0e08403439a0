"""ALBEF: its terms by loops, its traps, and CLIP as a limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build, loaded, run
from torch import Tensor

from counterpoint.methods._matching import (
    LABEL,
    MATCH,
    PATCHES,
    PICTURE_OF,
    TEXT_OF,
    WORDS,
    draw_others,
    mean_of_all,
)
from counterpoint.methods.arm import Arm
from counterpoint.networks.fusion.joint_encoder import JointBlock, JointEncoder
from counterpoint.networks.init import initialise
from counterpoint.recipes import Recipe, override
from counterpoint.testing._method import grads_of
from counterpoint.types import Batch, PairScorer, StepInfo


def alone(term: str, **options: Any) -> Any:
    """Return a method with one term, in float64."""
    weights = {name: float(name == term) for name in ("contrast", "matching", "words")}
    return build("albef", **{**weights, "negatives": "random", **options}).double()


def given_of(method: Any, size: int = 6) -> Batch:
    return batch(method, size, dtype=torch.float64)


def test_without_queue_copy_matching_and_words_it_is_clip(recipe: Recipe) -> None:
    captions = ["a red car", "a blue car", "a dog", "two trees"]
    recipe = override(recipe, {"towers.text": "reader"})
    options = "queue=0,alpha=0,matching=0,words=0,negatives=random,temperature=0.07"
    albef, clip = (
        Arm.parse(arm).build(recipe, {"text": captions}, 0).double() for arm in (f"albef,{options}", "clip")
    )
    assert albef.copy is None
    size = albef.image_tower.size
    pictures = torch.rand(4, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    given = Batch(torch.arange(4), {"image": pictures, "text": albef.text_tower.tokenizer(captions)})
    ours, theirs = run(albef, given)["contrast"], run(clip, given)["clip"]
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    for loss in (ours, theirs):
        loss.backward()
    expected = grads_of(clip)
    measured = grads_of(albef)
    assert set(expected) == set(measured)
    for name, gradient in expected.items():
        torch.testing.assert_close(measured[name], gradient, rtol=1e-9, atol=1e-12)


def test_contrast_is_of_own_keys_first_and_then_of_the_queue() -> None:
    method = alone("contrast", queue=5, alpha=0.4)
    with torch.no_grad():  # a copy that is another network
        for weight in method.copy.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    given = given_of(method)
    z = method.targets(given) | method.encode(given)
    x, y = method.embedded(z)
    tau, terms = method.objective.temperature.value, []
    for q, of, to in ((x, "image", "text"), (y, "text", "image")):
        keys = torch.cat([z[f"momentum.{to}"], method.queues[to].keys])
        log_p = (q @ keys.T / tau).log_softmax(1)
        soft = (z[f"momentum.{of}"] @ keys.T / tau).softmax(1)
        target = 0.4 * soft + 0.6 * F.one_hot(torch.arange(6), len(keys))
        terms.append(-(target * log_p).sum(1).mean())
    (loss,) = method.losses(z, given, LATE).values()
    torch.testing.assert_close(loss, sum(terms) / 2)
    # At the start of a run the copy is not believed yet.
    (loss,) = method.losses(z, given, StepInfo(0, 90)).values()
    own = [F.cross_entropy(q @ torch.cat([z[f"momentum.{to}"], method.queues[to].keys]).T / tau, torch.arange(6))
           for q, to in ((x, "text"), (y, "image"))]  # fmt: skip
    torch.testing.assert_close(loss, sum(own) / 2)
    assert not any("temperature" in name for name, _ in method.copy.named_parameters())


def test_words_are_those_that_are_hidden_with_the_copy_s_logits_as_targets() -> None:
    method = alone("words", alpha=0.4)
    with torch.no_grad():
        for head in (method.word_head, method.copy.module.word_head):
            head[-1].weight += torch.randn(head[-1].weight.shape, generator=torch.Generator().manual_seed(3))
    given = given_of(method)
    z = method.second_round(method.targets(given) | method.encode(given), given)
    shown, asked = given["masked"].unbind(1)
    states = method.joint(method.text_tower.states(shown), z[PATCHES + "image"])
    logits, theirs = method.word_head(states), method.copy.module.word_head(z["momentum.masked"])
    terms = []
    for b, t in (asked != -100).nonzero().tolist():
        log_p = logits[b, t].log_softmax(0)
        terms.append(-0.6 * log_p[asked[b, t]] - 0.4 * (theirs[b, t].softmax(0) * log_p).sum())
    assert terms
    (loss,) = method.losses(z, given, LATE).values()
    torch.testing.assert_close(loss, sum(terms) / len(terms))
    nothing = replace(given, views={**given.views, "masked": torch.full_like(given["masked"], -100)})
    assert method.losses(z, nothing, LATE)["words"].item() == 0.0


def test_pairs_are_own_rows_with_hard_others_of_another_id() -> None:
    method = build("albef", alpha=0.0)
    given = loaded(method, 6)
    given = replace(given, ids=torch.tensor([0, 0, 1, 2, 3, 4]))
    z = method.targets(given) | method.encode(given)
    # Each picture is closest to the text of the next row but one.
    texts, pictures = torch.zeros(6, 6), torch.zeros(6, 6)
    rows = torch.arange(6)
    texts[rows, (rows + 2) % 6] = 1e4
    texts.fill_diagonal_(2e4)
    method.closeness = lambda z: (texts, pictures)
    pairs = method.pairs(z, given)
    label, picture, text = (pairs[name] for name in (LABEL, PICTURE_OF, TEXT_OF))
    assert label.tolist() == [1] * 6 + [0] * 12
    assert torch.equal(picture[:12], rows.repeat(2))
    assert torch.equal(text[:6], rows)
    assert torch.equal(text[6:12], (rows + 2) % 6)
    assert torch.equal(text[12:], rows)
    assert (given.ids[picture] != given.ids[text]).tolist() == [False] * 6 + [True] * 12
    # A pair that is fused by itself is the pair among others.
    fused = method.fuse(z, pairs)[MATCH]
    one = method.fuse(z, {name: rows[7:8] for name, rows in pairs.items()})[MATCH]
    torch.testing.assert_close(one, fused[7:8])


@pytest.mark.parametrize("ids", [[5], [5, 5, 5]])
def test_rows_of_one_id_make_no_pair_and_no_matching_loss(ids: list[int]) -> None:
    method = alone("matching")
    given = replace(given_of(method, len(ids)), ids=torch.tensor(ids))
    (loss,) = run(method, given).values()
    assert loss.item() == 0.0
    loss.backward()  # other ranks wait for this one's part of the backward pass
    with torch.no_grad():
        assert len(method.pairs(method.encode(given), given)[LABEL]) == 0


def test_a_row_whose_other_weights_vanish_still_draws() -> None:
    logits = torch.full((3, 3), -1e4)
    logits.fill_diagonal_(1e4)
    assert not (logits.softmax(1) * (1 - torch.eye(3))).any()  # what a softmax over all rows leaves
    drawn, has_other = draw_others(logits, torch.tensor([1, 2, 2]))
    assert has_other.all()
    assert drawn[0] in (1, 2)
    assert drawn[1:].tolist() == [0, 0]
    counts = torch.bincount(
        torch.cat([draw_others(torch.tensor([[0.0, 0.0, 1.0]] * 3), torch.arange(3))[0][:1] for _ in range(1000)]),
        minlength=3,
    )  # fmt: skip
    assert counts[0] == 0
    assert float(counts[2] / 1000) == pytest.approx(torch.tensor([0.0, 1.0]).softmax(0)[1].item(), abs=0.05)


def test_mean_over_no_value_is_zero() -> None:
    assert mean_of_all(torch.zeros(0)).item() == 0.0


def test_matching_needs_a_use_for_its_negatives() -> None:
    with pytest.raises(ValueError, match="contrast=0 leaves untrained: take negatives=random"):
        build("albef", contrast=0.0)
    with pytest.raises(ValueError, match="leave no loss"):
        build("albef", contrast=0.0, matching=0.0, words=0.0)


def test_a_joint_score_does_not_depend_on_other_pairs() -> None:
    method = build("albef").eval()
    assert isinstance(method, PairScorer)
    pictures = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    captions = ["a red cat", "a", "the old green hill"]
    scores = method.score(pictures, captions)
    for k in range(3):
        torch.testing.assert_close(method.score(pictures[k : k + 1], captions[k : k + 1])[0], scores[k])
    states = method.pair_states("text", captions)
    assert states[WORDS].shape[1] == method.text_tower.tokenizer.context
    both = method.pair_scores(method.pair_states("image", pictures), states)
    torch.testing.assert_close(method.pair_scores(states, method.pair_states("image", pictures)), both)
    with pytest.raises(ValueError, match="3 pictures and 2 captions"):
        method.score(pictures, captions[:2])


def test_explicit_attention_is_the_fused_one() -> None:
    encoder = JointEncoder(8, 12, patches=4, depth=2, heads=2)
    initialise(encoder, 0)
    words, patches = torch.randn(3, 5, 8), torch.randn(3, 4, 12)
    words[1, 3:] = 0.0
    states, attention = encoder(words, patches, attention_of=1)
    torch.testing.assert_close(states, encoder(words, patches))
    torch.testing.assert_close(attention.sum(-1), torch.ones(3, 2, 5))
    # Padding is read by no word.
    longer = torch.cat([words, torch.zeros(3, 2, 8)], 1)
    torch.testing.assert_close(encoder(longer, patches)[:, :3], states[:, :3])


def test_a_block_is_torchs_pre_norm_decoder_layer() -> None:
    block = JointBlock(8, 8, heads=2, depth=1)
    initialise(block, 0)
    layer = torch.nn.TransformerDecoderLayer(
        8, 2, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    names = {"self_attn.in_proj": block.qkv, "self_attn.out_proj": block.out, "linear1": block.up}
    names |= {"multihead_attn.out_proj": block.cross_out, "linear2": block.down}
    names |= {f"norm{k}": norm for k, norm in enumerate(block.norms, 1)}
    state: dict[str, Tensor] = {}
    for name, part in names.items():
        joint = "_" if name.endswith("in_proj") else "."
        state |= {f"{name}{joint}{kind}": value for kind, value in part.named_parameters()}
    for kind in ("weight", "bias"):
        state[f"multihead_attn.in_proj_{kind}"] = torch.cat([getattr(block.q, kind), getattr(block.kv, kind)])
    layer.load_state_dict(state)
    x, context = torch.randn(2, 5, 8), torch.randn(2, 4, 8)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[0, 3:] = False
    expected = layer(x, F.layer_norm(context, (8,)), tgt_key_padding_mask=~mask)
    torch.testing.assert_close(block(x, context, mask), expected, rtol=1e-4, atol=1e-5)


def test_phrase_maps_are_of_each_pair_alone_and_know_no_co_attention() -> None:
    method = build("albef", queue=0, alpha=0.0)
    pictures = torch.randint(0, 256, (3, 3, 10, 12), dtype=torch.uint8)
    phrases = ["red cat", "hill", "small red cat"]
    maps = method.phrase_maps(pictures, phrases)
    assert maps.shape == (3, 2, 1)
    assert maps.amin((1, 2)).tolist() == [0, 0, 0]
    assert maps.amax((1, 2)).le(1).all()
    alone = [method.phrase_maps(pictures[n : n + 1], phrases[n : n + 1]) for n in range(3)]
    torch.testing.assert_close(torch.cat(alone), maps)
    with torch.inference_mode():  # in which runs are evaluated
        torch.testing.assert_close(method.phrase_maps(pictures, phrases), maps)
    other = build("albef", queue=0, alpha=0.0, fusion="co")
    assert not other.maps_phrases
    with pytest.raises(LookupError, match="fusion=co"):
        other.phrase_maps(pictures, phrases)
