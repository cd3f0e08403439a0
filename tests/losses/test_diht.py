"""Hard-negative NCE: its weights in each direction, its limits, and its range."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from counterpoint.losses import DiHTLoss
from fixtures.vectors import F64, pair


@pytest.mark.parametrize("beta", [0.0, 0.25, 3.0])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_equal_negatives_weigh_one(alpha: float, beta: float) -> None:
    x = torch.eye(5, dtype=F64)
    expected = 2 * (math.log(alpha * math.exp(1 / 0.5) + 4) - 1 / 0.5)
    assert DiHTLoss(0.5, alpha=alpha, beta=beta)(x, x).item() == pytest.approx(expected, rel=1e-12)


def test_each_direction_normalises_its_own_weights() -> None:
    x, y = pair(7, 5)
    s = (x @ y.T / 0.3).detach()
    off = (0.5 * s).fill_diagonal_(-math.inf)
    forth, back = 6 * off.softmax(1), 6 * off.softmax(0)
    eye = torch.eye(7, dtype=F64)

    def loss(rows: Tensor, columns: Tensor) -> float:
        parts = [((rows + eye) * s.exp()).sum(1), ((columns + eye) * s.exp()).sum(0)]
        return sum(float((part.log() - s.diagonal()).mean()) for part in parts)

    ours = DiHTLoss(0.3, beta=0.5)(x, y).item()
    assert ours == pytest.approx(loss(forth, back), rel=1e-12)
    assert abs(ours - loss(forth, forth)) > 1e-2


def test_a_large_concentration_leaves_the_hardest_negative_alone() -> None:
    x, y = pair(7, 5)
    s = (x @ y.T).detach()
    hardest = s.clone().fill_diagonal_(-math.inf)
    expected = 0.0
    for dim in (0, 1):
        negatives = math.log(6) + hardest.amax(dim)
        expected += float((torch.logaddexp(s.diagonal(), negatives) - s.diagonal()).mean())
    assert DiHTLoss(1.0, beta=1e4)(x, y).item() == pytest.approx(expected, rel=1e-9)


def test_logits_of_a_hundred_do_not_overflow_in_float32() -> None:
    x, y = pair(7, 5)
    single = DiHTLoss(0.01, beta=1.0)(x.detach().float(), y.detach().float())
    assert single.item() == pytest.approx(DiHTLoss(0.01, beta=1.0)(x, y).item(), rel=1e-4)


def test_detached_weights_change_gradients_and_not_the_value() -> None:
    x, y = pair(7, 5)
    plain, detached = DiHTLoss(0.3, beta=0.5)(x, y), DiHTLoss(0.3, beta=0.5, detach_weights=True)(x, y)
    torch.testing.assert_close(plain, detached, rtol=1e-14, atol=0)
    (a,), (b,) = (torch.autograd.grad(loss, [x]) for loss in (plain, detached))
    assert float((a - b).norm()) > 0.01 * float(a.norm())


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_a_batch_of_one_costs_the_log_of_alpha_on_each_side(alpha: float) -> None:
    x, y = pair(1, 5)
    loss = DiHTLoss(alpha=alpha)(x, y)
    assert loss.item() == pytest.approx(2 * math.log(alpha), abs=1e-12)
    assert not any(g.any() for g in torch.autograd.grad(loss, [x, y]))
