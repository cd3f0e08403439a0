"""Attention of replies to pictures: by hand, its kernels, sinks, and several pictures of a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoint.methods._reply_attention import _sinks
from counterpoint.methods.arm import Arm
from counterpoint.networks.bridges.base import Given
from counterpoint.raw import Exchange
from counterpoint.types import Batch, Prompt, ReplyAttention, Turn
from fixtures.speaking import GOOD, PICTURES, RECIPE, TALKS, speaking

OTHERS = PICTURES.flip(0)
PROMPTS = [Prompt("What is it?", picture) for picture in PICTURES]


def several(arm: str) -> tuple[Any, Batch]:
    """Return a method on two pictures a row, and a batch."""
    kinds = {"image": "image", "talk": "talk", "worse": "talk", "second": "image"}
    if arm.startswith("sft"):
        kinds.pop("worse")
    raw = {"image": PICTURES, **TALKS, "second": OTHERS}
    examples = {column: raw[column] for column in kinds}
    method: Any = Arm.parse(arm).build(RECIPE, examples, 0, columns=kinds).double().eval()
    views = {column: method.inputs[column](raw[column]) for column in method.columns}
    views |= {column: views[column].double() for column in ("image", "second")}
    return method, Batch(torch.arange(4), views, {}, {})


@torch.no_grad()
def by_hand(method: Any, pictures: Tensor, reply: str) -> tuple[Tensor, float]:
    """Return the attention to the tokens of one row's pictures, from the queries and keys of the last layer."""
    speaker, language = method.speaker, method.language
    talk = language.chat([(Exchange("What is it?", reply),)])
    length = int((talk[0, 2] > 0).sum())
    made = method.inputs["image"](pictures).double()
    tokens = torch.cat([speaker.given(speaker.patches(one[None])).tokens for one in made], 1)
    embedded = language.embed(talk[:, 0, :length])
    opening, count = language.chat.opening, tokens.shape[1]
    whole = torch.cat([embedded[:, :opening], tokens, embedded[:, opening:]], 1)
    model = language.model.model
    seen: list[Tensor] = []
    handle = model.layers[1].register_forward_pre_hook(
        lambda layer, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"]),
        with_kwargs=True,
    )
    state = language.token_states(whole)
    handle.remove()
    layer = model.layers[1]
    x = layer.input_layernorm(seen[0])
    heads = language.model.config.num_attention_heads
    q, k = (
        project(x).unflatten(2, (heads, -1)).transpose(1, 2)
        for project in (layer.self_attn.q_proj, layer.self_attn.k_proj)
    )
    cos, sin = model.rotary_emb(x, torch.arange(x.shape[1])[None])

    def turned(of: Tensor) -> Tensor:
        a, b = of.chunk(2, -1)
        return of * cos[:, None] + torch.cat([-b, a], -1) * sin[:, None]

    logits = turned(q) @ turned(k).mT * q.shape[-1] ** -0.5
    future = torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1)
    weights = logits.masked_fill(future, -torch.inf).softmax(-1).mean(1)[0]
    places = [t + count - 1 for t in range(opening, length) if talk[0, 1, t]]
    log_p = language.head(state)[0].log_softmax(-1)
    terms = [log_p[p, talk[0, 0, p - count + 1]] for p in places]
    return weights[places, opening : opening + count].mean(0), float(torch.stack(terms).mean())


def test_attention_is_that_of_the_second_half_of_the_layers_at_the_replys_tokens() -> None:
    method = speaking("sft", "talk")
    kernels = method.language.model.config._attn_implementation
    made = method.attention(PROMPTS, GOOD)
    assert method.language.model.config._attn_implementation == kernels != "eager"
    for picture, reply, (weights, likely) in zip(PICTURES, GOOD, made, strict=True):
        expected, log_p = by_hand(method, picture[None], reply)
        assert weights.shape == (1, 2, 2)
        torch.testing.assert_close(weights.flatten(), expected.float())
        assert likely == pytest.approx(log_p)
        assert float(weights.sum()) < 1  # words and the first token have the rest


def test_training_and_generation_keep_their_kernels_after_an_error() -> None:
    method = speaking("sft", "talk")
    kernels = method.language.model.config._attn_implementation
    with pytest.raises(RuntimeError):
        next(method.language.attention(torch.zeros(1, 2, 5)))
    assert method.language.model.config._attn_implementation == kernels
    method.train()
    method.attention(PROMPTS[:1], GOOD[:1])
    assert method.training


def test_picture_tokens_that_are_sinks_count_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    states = torch.ones(1, 5, 3)
    states[0, 2] = 20
    assert _sinks(states).tolist() == [[False, False, True, False, False]]
    method = speaking("sft", "talk")
    monkeypatch.setattr(
        "counterpoint.methods._reply_attention._sinks",
        lambda of: torch.arange(of.shape[1]).expand(of.shape[:2]) == 1,
    )
    weights = method.attention(PROMPTS[:1], GOOD[:1])[0].weights.flatten()
    assert weights.isnan().tolist() == [False, True, False, False]


SEVERAL = {"sft": "sft,columns=image+talk+second", "dpo": "dpo,columns=image+talk+worse+second"}


@pytest.mark.parametrize("arm", SEVERAL)
def test_several_pictures_of_a_row_stand_one_behind_the_other(arm: str) -> None:
    method, batch = several(SEVERAL[arm])
    speaker = method.speaker
    with torch.no_grad():
        z = method.encode(batch)
        tokens = [speaker.given(speaker.patches(batch[column])).tokens for column in ("image", "second")]
        for column in ("talk", "worse") if arm == "dpo" else ("talk",):
            expected = speaker.log_p(batch[column], Given(torch.cat(tokens, 1)))
            torch.testing.assert_close(z[column], expected)
    both = [torch.stack(pair) for pair in zip(PICTURES, OTHERS, strict=True)]
    prompts = [Prompt("What is it?", pictures) for pictures in both]
    made: list[ReplyAttention] = method.attention(prompts, GOOD)
    for pictures, reply, (weights, likely) in zip(both, GOOD, made, strict=True):
        expected, log_p = by_hand(method, pictures, reply)
        assert weights.shape == (2, 2, 2)
        torch.testing.assert_close(weights.flatten(), expected.float())
        assert likely == pytest.approx(log_p)
    assert len(method.reply(prompts, max_tokens=2)) == 4
    assert len(method.reply(prompts, max_tokens=2, sample=True, hidden=0.9)) == 4
    with pytest.raises(ValueError, match=r"a request is about 2 pictures \(image, second\)"):
        method.reply(PROMPTS[:1])
    changed = replace(batch, views={**batch.views, "second": batch["image"]})
    assert not torch.allclose(method.encode(changed)["talk"], z["talk"])


def test_named_columns_of_pictures_are_read_and_others_are_left() -> None:
    columns = {"image": "image", "talk": "talk", "albums": "talk", "second": "image"}
    assert [*Arm.parse("sft").reads(columns)] == ["image", "talk"]
    assert [*Arm.parse("sft,columns=image+talk+second").reads(columns)] == ["image", "talk", "second"]
    named = "image+talk+albums+second"
    assert [*Arm.parse(f"dpo,columns={named}").reads(columns)] == named.split("+")
    assert [*Arm.parse("dpo,worse=albums").reads(columns)] == ["image", "talk", "albums"]
    method, _ = several(SEVERAL["dpo"])
    assert method.worse == ["worse"]


def test_requests_and_models_without_such_attention_are_refused() -> None:
    method = speaking("sft", "talk")
    with pytest.raises(ValueError, match="asked of prompts with a picture, and one has none"):
        method.attention([Prompt("What?")], ["That."])
    with pytest.raises(ValueError, match="an earlier turn has one"):
        method.attention([replace(PROMPTS[0], turns=(Turn("Who?", "Me.", PICTURES[1]),))], ["That."])
    # Tokens without a place are one cell.
    resampled = speaking("sft,bridge=resampler,tokens=3", "talk")
    assert resampled.attention(PROMPTS[:1], GOOD[:1])[0].weights.shape == (1, 1, 1)
    stacked = speaking("sft,bridge=crossed,tokens=2", "talk")
    with pytest.raises(ValueError, match="the bridge changes layers of the language model"):
        stacked.attention(PROMPTS[:1], GOOD[:1])
    recurrent = speaking("sft,lm=mamba", "talk")
    with pytest.raises(ValueError, match="has no attention; take a Transformer, such as llama"):
        recurrent.attention(PROMPTS[:1], GOOD[:1])
