"""P-Former: the terms of its three stages, what each reads, and prompts that another run lends."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from counterpoint.losses import InfoNCELoss
from counterpoint.methods import create
from counterpoint.methods.p_former import sentences
from counterpoint.networks import tune
from counterpoint.networks.bridges.base import Given
from counterpoint.testing._stubs import INPUTS, RECIPE, begun, loaded, run, stub_towers
from counterpoint.types import StepInfo

READS = {"image": "image", "talk": "talk", "text": "text"}
PROMPT, ALIGN, SPEAK = (StepInfo(1, 6, stage=stage) for stage in ("prompt", "align", "speak"))


def build(**options: Any) -> Any:
    towers = stub_towers(READS)
    tune(towers["talk"], "frozen")
    return begun(create("p-former", towers, RECIPE, **{"tokens": 3, **options}), 0).eval()


@torch.no_grad()
def test_the_terms_on_sentences_are_those_of_the_paper() -> None:
    method = build(hidden=0.0)
    given = method.prepare(loaded(method, 4), PROMPT)
    assert set(given.views) == {"talk", "talk.hidden"}, "no picture is read"
    losses = run(method, given, PROMPT)
    prompts, f = method.prompts(*sentences(given["talk"]))
    assert prompts.shape == (4, 3, 8), "as many prompts as queries, whatever the length"
    log_p = method.speaker.log_p(given["talk"], Given(prompts))
    torch.testing.assert_close(losses["words"], -log_p.sum() / (log_p != 0).sum())
    words = method.language.model.get_input_embeddings().weight
    squares = (prompts[:, :, None] - words).square().mean(-1).amin(-1)
    torch.testing.assert_close(losses["vocabulary"], squares.mean())
    torch.testing.assert_close(losses["spread"], InfoNCELoss(0.07, label_smoothing=0.1)(f, f))
    torch.testing.assert_close((f * f).sum(-1), torch.ones(4))


@torch.no_grad()
def test_prompts_follow_from_the_reply_alone() -> None:
    method = build()
    talk = loaded(method, 4)["talk"]
    tokens, inside = sentences(talk)
    prompts, _ = method.prompts(tokens, inside)
    other = torch.where(inside, tokens, 7)
    torch.testing.assert_close(method.prompts(other, inside)[0], prompts)
    hidden = torch.where(inside, method.prompts.mask, tokens)
    assert not torch.isclose(method.prompts(hidden, inside)[0], prompts).flatten(1).all(1).any()


@torch.no_grad()
def test_tokens_are_hidden_in_the_first_stage_alone() -> None:
    method = build(hidden=1.0)
    given = loaded(method, 4)
    torch.manual_seed(0)
    first = method.encode(method.prepare(given, PROMPT))["prompts.talk"]
    tokens, inside = sentences(given["talk"])
    hidden = torch.full_like(tokens, method.prompts.mask)
    torch.testing.assert_close(first, method.prompts(hidden, inside)[0])
    for clock in (ALIGN, SPEAK):
        later = method.targets(method.prepare(given, clock))["prompts.talk"]
        torch.testing.assert_close(later, method.prompts(tokens, inside)[0])


def test_queries_are_drawn_to_prompts_that_stay() -> None:
    method = build()
    given = loaded(method, 4)
    variance = method.language.model.get_input_embeddings().weight.var()
    prompts = method.prompts(*sentences(given["talk"]))[0].detach()
    for clock in (ALIGN, SPEAK):
        method.zero_grad()
        part = method.prepare(given, clock)
        patches = method.speaker.patches(given["image"])
        said = method.speaker.given(patches).tokens
        loss = run(method, part, clock)["regression"]
        torch.testing.assert_close(loss, 0.1 * F.mse_loss(said, prompts) / variance)
        for parameter in method.bridge.parameters():
            parameter.requires_grad_()
        run(method, part, clock)["regression"].backward()
        assert all(p.grad is None for p in method.prompts.parameters())
        assert method.bridge.out.weight.grad is not None
    plain = run(build(regression=0.0), method.prepare(given, SPEAK), SPEAK)
    assert set(plain) == {"nll"}


def test_stages_move_what_they_train() -> None:
    method = build()
    first, align, speak = method.stages
    assert first.moves == ("prompt_projections.", "spread.")
    assert not any(name.startswith(("prompt", "spread")) for name in (*align.moves, *speak.moves))
    assert any("out" in name for name in align.moves)
    assert [stage.name for stage in build(align=0.0, speak=0.0).stages] == ["prompt"]
    with pytest.raises(ValueError, match="prompt=0 and align=0 and speak=0 leave no stage"):
        build(prompt=0.0, align=0.0, speak=0.0)


def test_the_share_of_reproduced_tokens_is_of_the_likeliest() -> None:
    method = build()
    exchanges = [one for row in INPUTS["talk"] for one in row]
    right = method.reproduced(exchanges)
    talk = method.language.chat([(one,) for one in exchanges])
    given = Given(method.prompts(*sentences(talk))[0])
    states, tokens, _ = method.speaker.reply_states(talk, given)
    assert right.tolist() == (method.language.head(states).argmax(1) == tokens).tolist()
    assert len(right) == int((talk[:, 1] > 0).sum())
