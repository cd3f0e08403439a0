"""Uniformity of centroids: that it aligns, and what a prior does to it."""

from __future__ import annotations

import math
from inspect import unwrap
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoint.losses import DecoupledUniformityLoss
from fixtures.vectors import F64, unit


def opened(angle: Tensor, n: int = 3) -> tuple[Tensor, Tensor]:
    """Two views of n orthogonal examples, each at an angle to the other in a plane of its own."""
    e = torch.eye(2 * n, dtype=F64)
    return e[:n], angle.cos() * e[:n] + angle.sin() * e[n:]


@pytest.mark.parametrize("angle", [0.0, 0.5, 2.0])
def test_centroids_are_shorter_the_further_their_views_are_apart(angle: float) -> None:
    # ‖μ‖² = 1 − ‖x − y‖²/4 = (1 + cos)/2, and orthogonal centroids are at twice that.
    loss = DecoupledUniformityLoss(2.0)(*opened(torch.tensor(angle, dtype=F64)))
    assert loss.item() == pytest.approx(-2 * (1 + math.cos(angle)), rel=1e-12)


def test_spreading_centroids_closes_the_angle_between_views() -> None:
    # With centroids of unit norm the angle would have no say, and this gradient would be 0.
    angle = torch.tensor(0.7, dtype=F64, requires_grad=True)
    (gradient,) = torch.autograd.grad(DecoupledUniformityLoss(2.0)(*opened(angle)), angle)
    assert gradient.item() == pytest.approx(2 * math.sin(0.7), rel=1e-12)


@pytest.mark.parametrize("ridge", [0.01, 0.5])
def test_very_narrow_kernel_shrinks_centroids_does_nothing_else(ridge: float) -> None:
    x = torch.eye(5, dtype=F64)
    objective = DecoupledUniformityLoss(sigma=1e-3, ridge=ridge)
    assert objective(x, x, prior=unit(5, 4)).item() == pytest.approx(-4 / (1 + ridge) ** 2, rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"sigma": 1.0}, {"kernel": "cosine"}], ids=str)
def test_equal_priors_make_one_centroid_of_and_leave_no_gradient(options: dict[str, Any]) -> None:
    x, y = unit(6, 4, seed=1).requires_grad_(), unit(6, 4, seed=2)
    loss = DecoupledUniformityLoss(**options)(x, y, prior=torch.ones(6, 3, dtype=F64))
    assert abs(loss.item()) < 1e-12
    assert torch.autograd.grad(loss, x)[0].abs().max() < 1e-12


def test_examples_alike_in_the_prior_share_their_views() -> None:
    # Two groups far apart, of two each: K is two blocks of ones, and A averages within them.
    x = torch.eye(4, dtype=F64)
    prior = torch.tensor([0, 0, 1, 1])
    ridge = 0.1
    loss = DecoupledUniformityLoss(sigma=1e-2, ridge=ridge)(x, prior=prior)
    apart = 4 / (2 + ridge) ** 2  # between (e0 + e1)/(2 + λ) and (e2 + e3)/(2 + λ)
    expected = math.log((2 * math.exp(0) + 4 * math.exp(-2 * apart)) / 6)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_the_median_distance_is_the_default_width() -> None:
    x, prior = unit(5, 4, seed=1), 40 * unit(5, 4, seed=2)
    median = torch.pdist(prior).sort().values[4].item()  # the lower middle of ten
    assert DecoupledUniformityLoss()(x, prior=prior).item() == pytest.approx(
        DecoupledUniformityLoss(sigma=median)(x, prior=prior).item(), rel=1e-12
    )


def test_no_gradient_reaches_the_prior() -> None:
    x, prior = unit(6, 4, seed=1).requires_grad_(), unit(6, 4, seed=2).requires_grad_()
    loss = DecoupledUniformityLoss()(x, prior=prior)
    on_x, on_prior = torch.autograd.grad(loss, [x, prior], allow_unused=True)
    assert on_x.abs().max() > 0
    assert on_prior is None


def test_a_batch_of_one_costs_nothing() -> None:
    x = unit(1, 4).requires_grad_()
    loss = DecoupledUniformityLoss()(x, x, prior=unit(1, 4))
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, x)[0].any()


def test_a_bad_prior_is_refused() -> None:
    x, forward = unit(6, 4), unwrap(DecoupledUniformityLoss.forward)
    with pytest.raises(ValueError, match="a row per example, 6, got 5"):
        forward(DecoupledUniformityLoss(), x, prior=unit(5, 4))
    with pytest.raises(ValueError, match="the prior has NaN or infinite values"):
        forward(DecoupledUniformityLoss(), x, prior=torch.full((6, 1), math.nan))


def test_no_view_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 view"):
        DecoupledUniformityLoss()()
