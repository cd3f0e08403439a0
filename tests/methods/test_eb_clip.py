"""EB-CLIP: its limits, what is frozen, the signs of its steps, and where drawn pictures stand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from method_stubs import RECIPE, StubText, loaded, prepared, ready, run

from counterpoint import methods
from counterpoint.methods.eb_clip import ATTACKED, DRAWN
from counterpoint.networks import tune
from counterpoint.testing._stubs import StubImage
from counterpoint.types import Batch, StepInfo

F64 = torch.float64


def built(name: str = "eb-clip", **options: Any) -> Any:
    towers = ready({"image": StubImage(), "text": StubText()}, 0)
    return methods.create(name, towers, RECIPE, **options).double()


def test_without_attack_and_drawing_it_is_clip_with_a_frozen_text_tower() -> None:
    plain, method = built("clip"), built(attack=0, drawing=0)
    tune(plain.towers["text"], "frozen")
    plain.projections["text"].requires_grad_(False)
    method.load_state_dict({**method.state_dict(), **plain.state_dict()}, strict=False)
    given = loaded(method, 8, dtype=F64)
    assert prepared(method, given) is given
    ours, theirs = run(method, given), run(plain, given)
    assert ours.keys() == theirs.keys() == {"clip"}
    torch.testing.assert_close(ours["clip"], theirs["clip"])
    ours["clip"].backward()
    theirs["clip"].backward()
    gradients = {name: p.grad for name, p in plain.named_parameters()}
    for name, parameter in method.named_parameters():
        if parameter.grad is None:
            assert gradients[name] is None
        else:
            torch.testing.assert_close(parameter.grad, gradients[name])


def test_ascent_then_descent_in_evaluation_mode_without_gradients_of_weights() -> None:
    method = built(radius=0.05).train()
    given = loaded(method, 8, dtype=F64)
    modes: list[bool] = []
    method.towers["image"].register_forward_hook(lambda module, *_: modes.append(module.training))
    made = prepared(method, given)
    assert modes
    assert not any(modes)
    assert method.training
    assert all(p.grad is None for p in method.parameters())
    attacked, drawn = made[ATTACKED + "image"], made[DRAWN + "image"]
    assert not attacked.requires_grad
    assert not drawn.requires_grad
    change = (attacked - given["image"]).square().mean((1, 2, 3)).sqrt()
    assert change.max() <= 0.05 + 1e-9
    y = method.embed_texts(given["text"])

    def loss(pictures: torch.Tensor) -> float:
        x = method.embed_pictures(pictures)
        return (method.objective(x, y) + method.objective(y, x)).item()

    assert loss(attacked) > loss(given["image"])
    torch.manual_seed(0)
    assert loss(drawn) < loss(method._starts(given["image"]))


def test_drawn_pictures_stand_in_the_denominator_alone() -> None:
    method = built(attack=0, gamma=0.5)
    batch = prepared(method, loaded(method, 6, dtype=F64))
    z = method.encode(batch)
    terms = method.losses(z, batch, StepInfo(5, 10))
    x, d, y = (
        torch.nn.functional.normalize(method.project(column, z[view], "global"), dim=-1)
        for column, view in (("image", "image"), ("image", DRAWN + "image"), ("text", "text"))
    )
    scale = method.objective.temperature.inverse()
    expected = []
    for i in range(6):
        below = sum((scale * x[j] @ y[i]).exp() + (scale * d[j] @ y[i]).exp() for j in range(6))
        expected.append(-((scale * x[i] @ y[i]).exp() / below).log())
    torch.testing.assert_close(terms["energy"], 0.5 * torch.stack(expected).mean())
    real, drawn = torch.autograd.grad(terms["energy"], (z["image"], z[DRAWN + "image"]))
    assert real.any()
    assert drawn.any()
    gap = ((x - d) * y).sum(1).mean()
    assert method.numbers()["energy_gap"] == pytest.approx(gap.item())


def test_gamma_rises_from_nothing() -> None:
    method = built()
    batch = prepared(method, loaded(method, 6, dtype=F64))
    first, middle, last = (
        method.losses(method.encode(batch), batch, StepInfo(step, 100))["energy"] for step in (0, 5, 50)
    )
    assert first == 0
    torch.testing.assert_close(middle, last / 2)


def test_every_pass_is_counted() -> None:
    counted: dict[str, int] = {}
    for options in ({}, {"gamma": 0}, {"attack": 0}, {"attack": 0, "gamma": 0}):
        method = built(**options)
        for name in ("image", "text"):
            counted[name] = 0

            def count(module: Any, inputs: Any, output: torch.Tensor, name: str = name) -> None:
                counted[name] += len(output)

            method.towers[name].register_forward_hook(count)
        given: Batch = loaded(method, 4, dtype=F64)
        run(method, prepared(method, given))
        assert method.passes() == {name: total / 4 for name, total in counted.items()}


def test_a_text_tower_stays_as_it_is() -> None:
    method = built()
    batch = prepared(method, loaded(method, 6, dtype=F64))
    torch.stack(list(run(method, batch).values())).sum().backward()
    assert all(p.grad is None for p in method.towers["text"].parameters())
    assert method.projections["text"].weight.grad is None
    assert method.projections["image"].weight.grad is not None
