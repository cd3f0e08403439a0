"""CWCL: closed forms, the limit of sharp weights, duplicates, what the weights do to the gradient."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import CWCLLoss, InfoNCELoss
from fixtures.vectors import F64


def pair(n: int = 9, d: int = 6) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x, y = (F.normalize(torch.randn(n, d, generator=g, dtype=F64), dim=-1) for _ in range(2))
    return x, y.requires_grad_()


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("gamma", [1.0, 3.0])
def test_orthonormal_matches_have_half_weight_on_each_other_pair(n: int, gamma: float) -> None:
    x = torch.eye(n, dtype=F64)
    log_z, own = math.log(n - 1 + math.exp(4)), 1 / (1 + (n - 1) * 0.5**gamma)
    loss = CWCLLoss(0.25, gamma=gamma)(x, x)
    assert loss.item() == pytest.approx((log_z - 4 * own) + (log_z - 4), rel=1e-12)


def test_each_direction_is_either_weighted_or_that_of_infonce() -> None:
    x, y = pair()
    frozen, trained, both = (CWCLLoss(0.1, weighted_anchor=a)(x, y) for a in ("frozen", "trained", "both"))  # type: ignore[arg-type] # each is one
    torch.testing.assert_close(both, frozen + trained - InfoNCELoss(0.1, weights=(1.0, 1.0))(x, y))


def test_a_batch_of_one_costs_nothing() -> None:
    x, y = pair(1)
    assert abs(CWCLLoss()(x, y).item()) < 1e-12


def test_weights_pull_by_share_and_do_not_touch_denominator() -> None:
    x, y = pair()
    (force,) = CWCLLoss(0.5).explain(x, y).forces
    s = (x @ y.T / 0.5).detach()
    w = 0.5 + 0.5 * x @ x.T
    forth, back = w / w.sum(1, keepdim=True) - s.softmax(1), torch.eye(9, dtype=F64) - s.softmax(0)
    torch.testing.assert_close(force.pull, forth + back, rtol=1e-10, atol=1e-12)


def test_duplicates_of_frozen_modality_positives_of_each_other() -> None:
    x, y = pair(5)
    x[4] = x[3]
    s = (x @ y.T / 0.1).detach()
    target = torch.eye(5, dtype=F64)
    target[3:, 3:] = 0.5
    expected = F.cross_entropy(s, target) + F.cross_entropy(s.T, torch.arange(5))
    torch.testing.assert_close(CWCLLoss(0.1, gamma=1e6)(x, y).detach(), expected, rtol=1e-12, atol=0)


def test_weights_are_constants_even_if_frozen_modality_is_not() -> None:
    x, y = pair()
    moving = x.clone().requires_grad_()
    s = moving @ y.T / 0.1
    w = 0.5 + 0.5 * x @ x.T
    expected = F.cross_entropy(s, w / w.sum(1, keepdim=True)) + F.cross_entropy(s.T, torch.arange(9))
    torch.testing.assert_close(
        torch.autograd.grad(CWCLLoss(0.1)(moving, y), moving),
        torch.autograd.grad(expected, moving),
        rtol=1e-10,
        atol=1e-12,
    )


def test_opposite_vectors_have_no_weight_and_make_no_nan() -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=F64)
    y = pair(2, 2)[1]
    torch.testing.assert_close(
        CWCLLoss(0.1)(x, y), InfoNCELoss(0.1, weights=(1.0, 1.0))(x, y), rtol=1e-12, atol=0
    )
    assert CWCLLoss().entropy(x).item() == 0


def test_entropy_shows_how_flat_the_targets_are() -> None:
    same = torch.ones(8, 4, dtype=F64) / 2
    assert CWCLLoss().entropy(same).item() == pytest.approx(math.log(8), rel=1e-12)
    x = torch.eye(8, dtype=F64)
    own, other = 1 / 4.5, 0.5 / 4.5
    expected = -own * math.log(own) - 7 * other * math.log(other)
    assert CWCLLoss().entropy(x).item() == pytest.approx(expected, rel=1e-12)
    flat, sharp, one_hot = (CWCLLoss(gamma=g).entropy(x).item() for g in (1.0, 8.0, 1e4))
    assert math.log(8) > flat > 0.97 * math.log(8)
    assert flat > sharp > one_hot
    assert one_hot == 0
