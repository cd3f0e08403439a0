"""Model-aware contrast: the temperature that follows alignment, the reweighting, and both off."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import DCLLoss, MACLLoss, NTXentLoss
from fixtures.vectors import F64


def pair(n: int = 6, d: int = 5, dtype: torch.dtype = F64) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(n, d, generator=g, dtype=F64) for _ in range(2))
    x, y = (F.normalize(v, dim=-1).to(dtype) for v in (x, x + noise))
    return x.requires_grad_(), y.requires_grad_()


def value_and_gradients(objective: torch.nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    loss = objective(x, y)
    return loss.detach(), *torch.autograd.grad(loss, [x, y])


@pytest.mark.parametrize(("alpha", "threshold"), [(0.5, 0.0), (1.0, 0.8), (1.0, 1.0)])
def test_temperature_follows_mean_raw_cosine_takes_no_gradient(alpha: float, threshold: float) -> None:
    x, y = pair()
    tau = 0.2 * (1 + alpha * ((x * y).sum(1).mean().item() - threshold))
    ours = value_and_gradients(MACLLoss(0.2, alpha=alpha, threshold=threshold, reweight=False), x, y)
    torch.testing.assert_close(ours, value_and_gradients(NTXentLoss(tau), x, y), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("tau", [0.5, 0.1, 0.02])
def test_a_positive_that_dominates_loses_no_digits_in_float32(tau: float) -> None:
    x = torch.eye(4).requires_grad_()
    y = torch.eye(4).requires_grad_()
    loss, *gradients = value_and_gradients(MACLLoss(tau, alpha=0.0), x, y)
    margin = 1 / tau - math.log(6)
    assert loss.item() == pytest.approx((1 + math.exp(margin)) * math.log1p(math.exp(-margin)), rel=1e-5)
    _, *expected = value_and_gradients(DCLLoss(tau), x, y)
    torch.testing.assert_close(gradients, [g / 2 for g in expected], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tau", [0.01, 0.001])
def test_a_positive_beyond_what_float32_can_weigh_stays_finite(tau: float) -> None:
    x = torch.eye(4).requires_grad_()
    loss, *gradients = value_and_gradients(MACLLoss(tau, alpha=0.0), x, torch.eye(4).requires_grad_())
    assert loss.isfinite()
    assert all(g.isfinite().all() for g in gradients)


def test_the_temperature_stays_positive_where_views_are_opposite() -> None:
    x = torch.eye(3, dtype=F64)
    assert MACLLoss(0.2, alpha=1.0, threshold=1.0).adapted(x, -x).item() == pytest.approx(0.01, rel=1e-12)
    assert MACLLoss(0.2, alpha=1.0, threshold=1.0).adapted(x, x).item() == pytest.approx(0.2, rel=1e-12)


def test_a_batch_of_one_costs_nothing_and_pulls_nowhere() -> None:
    loss, *gradients = value_and_gradients(MACLLoss(), *pair(1))
    assert loss == 0
    assert not any(g.any() for g in gradients)
