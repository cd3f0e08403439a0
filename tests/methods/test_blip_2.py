"""BLIP-2: what reads what in each pass, equal texts, stages, and parity with transformers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Blip2Config, Blip2ForImageTextRetrieval
from transformers.modeling_outputs import BaseModelOutput

from counterpoint.methods import create
from counterpoint.networks import tune
from counterpoint.testing._stubs import INPUTS, RECIPE, batch, begun, loaded, run, stub_towers
from counterpoint.types import Batch, StepInfo

READS = {"image": "image", "talk": "talk", "text": "text"}
ALIGNING, SPEAKING = (StepInfo(1, 4, stage=stage) for stage in ("align", "speak"))
ENDED = torch.tensor([[5, 7, 9, 63, 0], [5, 8, 63, 0, 0], [6, 7, 9, 11, 63], [5, 7, 9, 63, 0]])
"""Texts; the first and the last are equal."""


def build(**options: Any) -> Any:
    towers = stub_towers(READS)
    tune(towers["talk"], "frozen")
    method = begun(create("blip-2", towers, RECIPE, tokens=3, **options), 0).eval()
    nn.init.normal_(method.bridge.transformer.head.weight, generator=torch.Generator().manual_seed(1))
    return method


def aligning(method: Any) -> Batch:
    """Four rows with `ENDED`, as the first stage reads them."""
    given = loaded(method, 4)
    given = replace(given, views={**given.views, "text": ENDED})
    return method.prepare(given, ALIGNING)


def changed(given: Batch, tokens: Tensor) -> Batch:
    return replace(given, views={**given.views, "text": tokens})


@torch.no_grad()
def test_contrast_sees_no_text_and_captions_no_later_word() -> None:
    method = build()
    given = aligning(method)
    z = method.encode(given)
    queries, _ = method.bridge.query_states(z["image"])
    torch.testing.assert_close(z["queries.image"], queries)
    later = ENDED.clone()
    later[2, 3] = 12  # the token in front of the end
    after = method.encode(changed(given, later))
    assert torch.equal(after["queries.image"], z["queries.image"])
    tokens = ENDED[2:3]
    mask, transformer = torch.ones_like(tokens).bool(), method.bridge.transformer
    words = [
        method.bridge.query_states(z["image"][2:3], t, mask, causal=True)[1] for t in (tokens, later[2:3])
    ]
    torch.testing.assert_close(words[0][:, :3], words[1][:, :3])
    assert not torch.allclose(words[0][:, 3], words[1][:, 3])
    # Read both ways, queries see the text.
    both = [method.bridge.query_states(z["image"][2:3], t, mask)[0] for t in (tokens, later[2:3])]
    assert not torch.allclose(*both)
    assert transformer.start == method.text_tower.tokenizer.vocabulary


@torch.no_grad()
def test_terms_are_those_of_the_paper() -> None:
    method = build()
    given = aligning(method)
    z = method.encode(given)
    torch.manual_seed(0)
    z |= (pairs := method.pairs(z, given)) | method.fuse(z, pairs)
    losses = method.losses(z, given, ALIGNING)
    q = F.normalize(method.projections["image"](z["queries.image"]), dim=-1)
    t = F.normalize(method.projections["text"](z["text"]), dim=-1)
    s = torch.einsum("ikd,jd->ijk", q, t).amax(-1) / 0.07
    s[0, 3] = s[3, 0] = -torch.inf  # equal captions are no negatives
    own = torch.arange(4)
    torch.testing.assert_close(losses["contrast"], (F.cross_entropy(s, own) + F.cross_entropy(s.T, own)) / 2)
    total, count = 0.0, 0
    head = method.bridge.transformer.head
    for row, length in enumerate((4, 3, 5, 4)):
        inputs = F.pad(ENDED[row : row + 1, : length - 1], (1, 0), value=method.bridge.transformer.start)
        _, words = method.bridge.query_states(z["image"][row : row + 1], inputs, inputs >= 0, causal=True)
        total += F.cross_entropy(
            head(words[0]), ENDED[row, :length], label_smoothing=0.1, reduction="sum"
        ).item()
        count += length
    assert losses["caption"].item() == pytest.approx(total / count, rel=1e-5)
    pictures, tokens, label = (pairs[f"pair.{name}"] for name in ("picture", "tokens", "label"))
    assert label.tolist() == [1] * 4 + [0] * 8
    assert torch.equal(tokens[:4], ENDED)
    assert torch.equal(pictures[:8], own.repeat(2))
    assert not (tokens[4:8] == ENDED).all(1).any()
    assert not (ENDED[pictures[8:]] == ENDED).all(1).any()
    logits = torch.cat(
        [method.matched(z["image"][p : p + 1], t[None]) for p, t in zip(pictures, tokens, strict=True)]
    )
    torch.testing.assert_close(losses["matching"], F.cross_entropy(logits, label))


def test_of_one_text_there_is_no_matching() -> None:
    method = build()
    given = aligning(method)
    one = changed(given, ENDED[:1].expand(4, -1))
    losses = run(method, one, ALIGNING)
    assert losses["matching"].item() == 0
    assert losses["contrast"].item() == pytest.approx(0, abs=1e-6)


def test_each_stage_moves_what_it_reads() -> None:
    method = build()
    given = loaded(method, 4)
    align, speak = method.stages
    for stage, clock in ((align, ALIGNING), (speak, SPEAKING)):
        for name, parameter in method.named_parameters():
            parameter.grad = None
            frozen = name.startswith(("towers.talk", "towers.text"))
            parameter.requires_grad_(name.startswith(stage.moves) and not frozen)
        part = method.prepare(given, clock)
        assert ("text" in part.views) == (stage is align)
        losses = run(method, part, clock)
        torch.stack(list(losses.values())).sum().backward()
        lacking = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
        assert not lacking
        assert set(losses) == ({"contrast", "matching", "caption"} if stage is align else {"nll"})
    assert not any(name.startswith(("projections", "match_head", "objective")) for name in speak.moves)
    assert not any("token_embedding" in name or ".intermediate." in name for name in speak.moves)
    assert [name for name in speak.moves if "intermediate_query" in name]
    with pytest.raises(ValueError, match="leave no stage"):
        build(align=0.0, speak=0.0)


def test_left_out_terms_have_no_weights_that_move() -> None:
    method = build(matching=0.0, captioning=0.0)
    assert set(run(method, aligning(method), ALIGNING)) == {"contrast"}
    assert not method.match_head.weight.requires_grad
    assert not method.bridge.transformer.head.weight.requires_grad


@torch.no_grad()
def test_its_second_stage_is_sft_with_its_bridge() -> None:
    method = build(align=0.0)
    towers = stub_towers({"image": "image", "talk": "talk"})
    other = begun(create("sft", towers, RECIPE, bridge="qformer", tokens=3), 0).eval()
    given = batch(method, 4)
    torch.testing.assert_close(
        run(method, method.prepare(given, SPEAKING), SPEAKING)["nll"], run(other, given)["nll"]
    )


@torch.no_grad()
def test_scores_are_those_of_transformers() -> None:
    method = build()
    states, width = method.bridge.transformer, 8
    of_text = {"hidden_size": width, "vocab_size": states.start + 1, "max_position_embeddings": 6}
    config = Blip2Config(
        vision_config={
            "hidden_size": 12,
            "intermediate_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
        qformer_config={**states.model.config.to_dict(), **of_text},
        text_config={"model_type": "opt"},
        num_query_tokens=3,
        image_text_hidden_size=8,
    )
    reference = Blip2ForImageTextRetrieval(config).eval()
    reference.qformer.load_state_dict(states.model.state_dict())
    reference.query_tokens.copy_(states.query.weight[None])
    reference.embeddings.word_embeddings.weight.copy_(states.token_embedding.weight)
    reference.embeddings.position_embeddings.weight.copy_(states.position_embedding.weight)
    for ours, theirs in (
        (method.projections["image"], reference.vision_projection),
        (method.projections["text"], reference.text_projection),
    ):
        theirs.weight.copy_(ours.weight)
        theirs.bias.zero_()
    reference.itm_head.load_state_dict(method.match_head.state_dict())
    pictures = list(INPUTS["image"][:4])
    features = method.pair_states("image", torch.stack(pictures))["patches"]
    normed = method.bridge.norm(features)
    reference.vision_model.forward = lambda **_: BaseModelOutput(last_hidden_state=normed)
    asked = {
        "pixel_values": torch.zeros(4, 3, 8, 8),
        "input_ids": ENDED,
        "attention_mask": (ENDED > 0).long(),
    }
    matched = reference(**asked, use_image_text_matching_head=True).logits_per_image
    texts = {"tokens": F.pad(ENDED, (0, 1))}
    torch.testing.assert_close(
        method.pair_scores(texts, {"patches": features})[:, 0], matched[:, 1] - matched[:, 0]
    )
    similar = reference(**asked, use_image_text_matching_head=False).logits_per_image
    x = method.embed("image", torch.stack(pictures))
    y = F.normalize(method.project("text", method.features("text", ENDED), "global"), dim=-1)
    torch.testing.assert_close(method.similarity(x, y), similar)
    torch.testing.assert_close(method.similarity(y, x), similar.T)
    assert method.width == x.shape[1] == 3 * 8
