"""CuMo: the stage of experts begins where the dense one ended; routers' terms are of first choices, per picture."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch.nn import functional as F

from counterpoint.networks.experts import recorded_routings
from counterpoint.types import StepInfo
from fixtures.speaking import batch_of, speaking

DENSE, EXPERTS = (StepInfo(step=0, steps=2, stage=stage) for stage in ("dense", "experts"))


class Examples:
    """Training examples of which nothing is asked."""

    ids = torch.arange(4)
    labels: ClassVar[dict[str, torch.Tensor]] = {}

    def map(self, function: Any) -> torch.Tensor:
        raise AssertionError("copies follow from the weights alone")


def begun(arm: str = "cumo") -> tuple[Any, Any]:
    method = speaking(f"{arm},image=vit", "talk")
    return method, batch_of(method)


@torch.no_grad()
def test_the_first_step_of_experts_computes_what_the_last_dense_one_did() -> None:
    method, batch = begun()
    method.prepare(batch, DENSE)
    dense = method.encode(batch)
    assert set(dense) == {"image", "talk"}
    method.on_epoch_start(Examples(), EXPERTS)
    method.prepare(batch, EXPERTS)
    mixed = method.encode(batch)
    for column in dense:
        torch.testing.assert_close(mixed[column], dense[column], atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_random_experts_are_other_networks() -> None:
    method, batch = begun("cumo,start=random")
    method.prepare(batch, DENSE)
    dense = method.encode(batch)["talk"]
    method.on_epoch_start(Examples(), EXPERTS)
    method.prepare(batch, EXPERTS)
    assert not torch.allclose(method.encode(batch)["talk"], dense, atol=1e-3)


def test_dense_networks_alone_move_in_the_dense_stage() -> None:
    method, batch = begun()
    method.prepare(batch, DENSE)
    losses = method.losses(method.encode(batch), batch, DENSE)
    assert set(losses) == {"nll"}
    losses["nll"].backward()
    moved = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert not [name for name in moved if "router" in name]
    assert {name.split("experts.")[1][0] for name in moved if "experts." in name} == {"0"}


def test_terms_are_of_first_choices_and_per_picture() -> None:
    method, batch = begun("cumo,balance=1,router_z=1")
    with recorded_routings(part.mixture for part in method.parts) as routings:
        losses = method.losses(method.encode(batch), batch, EXPERTS)
    assert len(routings) == 2  # one block, and the bridge
    balance = squares = torch.zeros((), dtype=torch.float64)
    for routing in routings:
        for picture in range(4):
            rows = slice(4 * picture, 4 * (picture + 1))
            shares = F.one_hot(routing.chosen[rows, 0], 4).double().mean(0)
            balance = balance + 4 * (shares * routing.probabilities[rows].mean(0)).sum() / 4
            squares = squares + routing.logits[rows].exp().sum(1).log().square().mean() / 4
    torch.testing.assert_close(losses["balance"], balance)
    torch.testing.assert_close(losses["router_z"], squares)
    assert 0.25 <= method.numbers()["largest_share"] <= 1
    (losses["balance"] + losses["nll"]).backward()
    assert all(part.mixture.router.weight.grad is not None for part in method.parts)


def test_what_cannot_become_experts_is_refused() -> None:
    with pytest.raises(ValueError, match="experts of the blocks of the built-in vit"):
        speaking("cumo,image=cnn", "talk")
    with pytest.raises(ValueError, match="choices=1 gives a weight of 1"):
        speaking("cumo,choices=1", "talk")
