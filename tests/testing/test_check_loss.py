"""Losses with one mistake each: the property that the mistake breaks is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.losses import InfoNCELoss, SigLIPLoss
from counterpoint.pairwise import LogSumExp, Loss, PairwiseLoss, paired
from counterpoint.testing import ConformanceError, check_loss, loss_checks


class Right(PairwiseLoss):
    """One direction of InfoNCE at a temperature of 0.5."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = paired(x=x, y=y)
        return self.mean(self.all(x, y) - 2 * (x * y).sum(-1))

    def all(self, x: Tensor, y: Tensor) -> Tensor:
        return self.reduce(self.terms, rows={"z": 2 * x}, columns={"z": y}).row.all

    def terms(self, tile: Any) -> Any:
        return {"row": {"all": LogSumExp(tile.dot())}}


class Vector(Right):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.all(x, y) - 2 * (x * y).sum(-1)


class Detached(Right):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x.detach(), y)


class Symmetric(Right):
    symmetric = True


class Ordered(Right):
    ordered = True


class Shifted(Right):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x, y.roll(1, 0))


class ByPosition(Right):
    """A mask by the position within the tile."""

    def terms(self, tile: Any) -> Any:
        s = tile.dot()
        return {"row": {"all": LogSumExp(s + torch.eye(*s.shape, dtype=s.dtype))}}


class Matrix(Right):
    """A matrix of B × B beside the tiles."""

    def all(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.logsumexp(2 * x @ y.T, 1)


class Half(Right):
    """A product of halves."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.mean(self.all(x, y) - 2 * (x * y).sum(-1))


class Counting(Right):
    """A buffer that moves in ``forward``."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x, y)


class NeverMoves(Right):
    stateful = True


class Variance(Loss):
    """A batch of one has no variance, and an empty one is not refused, nor are two of different lengths."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x.float().var(0).sum() - y.float().var(0).sum()).to(
            torch.promote_types(x.dtype, torch.float32)
        )


class Smooth(nn.Module):
    """A loss of PyTorch alone, with arguments that say nothing of themselves."""

    def forward(self, x, y):  # type: ignore[no-untyped-def]
        return F.cross_entropy(5 * x @ y.T, torch.arange(len(x)))


WRONG = {
    Vector: "value",
    Detached: "finite differences",
    Symmetric: "symmetry",
    Ordered: "order of the batch",
    Shifted: "order of the batch",
    ByPosition: "tiles of 4, transposed",
    Matrix: "memory",
    Half: "bfloat16, tiled",
    Counting: "state",
    NeverMoves: "state",
    Variance: "batch of one",
}


def test_right_losses_pass() -> None:
    for loss in (Right, Smooth, InfoNCELoss, "siglip", lambda: SigLIPLoss(bias=-1.0)):
        check_loss(loss, thorough=True)


@pytest.mark.parametrize("loss", WRONG, ids=lambda loss: loss.__name__)
def test_the_broken_property_is_named(loss: type[Loss]) -> None:
    with pytest.raises(ConformanceError) as error:
        check_loss(loss)
    assert error.value.subject == loss.__name__
    assert WRONG[loss] in error.value.failures
    assert f"{WRONG[loss]}: expected" in str(error.value)


def test_every_failure_is_listed() -> None:
    with pytest.raises(ConformanceError) as error:
        check_loss(Variance)
    assert {"batch of one", "empty batch", "batches of other lengths"} <= error.value.failures.keys()


def loops(loss: Any, x: Tensor, y: Tensor) -> Tensor:
    rows = [torch.stack([2 * (a * b).sum() for b in y]) for a in x]
    return torch.stack([row.logsumexp(0) - row[i] for i, row in enumerate(rows)]).mean()


def test_a_formula_in_loops_is_compared() -> None:
    assert "formula" in dict(loss_checks(Right, expected=loops))
    check_loss(Right, expected=loops)
    with pytest.raises(ConformanceError) as error:
        check_loss(Right, expected=lambda loss, x, y: 1.01 * loops(loss, x, y))
    assert {*error.value.failures} == {"formula", "duplicates"}


def test_a_stopped_gradient_may_be_declared() -> None:
    check_loss(Detached, stop_gradient=True)


def test_inputs_of_an_unknown_kind_are_asked_for() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor, names: list[str]) -> Tensor:
            return x.square().mean() * len(names)

    with pytest.raises(ValueError, match="give inputs="):
        check_loss(Odd)
    check_loss(Odd, inputs=lambda g, n, d: (torch.randn(n, d, generator=g).double(), ["a"]), fixed=(1,))
