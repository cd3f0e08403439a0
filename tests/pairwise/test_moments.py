"""Means, cross-moments and Sinkhorn assignments."""

from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.pairwise import moments

F64 = torch.float64


def scores(n: int, k: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, k, generator=torch.Generator().manual_seed(seed), dtype=F64) * 2 - 1


def test_weighted_mean_ignores_rows_of_weight_zero_infinite_ones() -> None:
    values = torch.tensor([1.0, float("inf"), 4.0], requires_grad=True)
    mean = moments.mean(values, torch.tensor([1.0, 0.0, 2.0]))
    assert mean.item() == 3.0
    mean.backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, torch.tensor([1 / 3, 0.0, 2 / 3]))


@pytest.mark.parametrize("weights", [torch.ones(1), torch.ones(3, 1), torch.ones(())], ids=str)
def test_weights_that_are_not_one_per_row_are_refused(weights: Tensor) -> None:
    with pytest.raises(ValueError, match=r"^weights must be one per row, \(3,\), got "):
        # Past the shape annotations, which tests enforce and users' processes do not.
        unwrap(moments.mean)(torch.ones(3), weights)


def test_the_mean_of_nothing_is_zero() -> None:
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    mean = moments.mean(values, torch.zeros(2))
    mean.backward()
    assert mean.item() == 0.0
    assert values.grad is not None
    assert not values.grad.any()


@given(n=st.integers(1, 9), k=st.integers(1, 9), iterations=st.integers(1, 4), seed=st.integers(0, 99))
def test_every_sample_is_assigned_exactly_once(n: int, k: int, iterations: int, seed: int) -> None:
    q = moments.sinkhorn(scores(n, k, seed), epsilon=0.3, iterations=iterations)
    torch.testing.assert_close(q.sum(1), torch.ones(n, dtype=F64))


def test_centres_approach_equal_shares_with_more_iterations() -> None:
    s = scores(40, 5)
    errors = []
    for iterations in (1, 3, 10, 60):
        q = moments.sinkhorn(s, epsilon=0.3, iterations=iterations)
        errors.append(float((q.sum(0) - 40 / 5).abs().max()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6


def test_a_sharp_diagonal_is_assigned_to_itself() -> None:
    # exp(I / eps) is doubly stochastic up to one factor: Q_ii = 1 / (1 + 5 exp(-1 / eps)).
    q = moments.sinkhorn(torch.eye(6, dtype=F64), epsilon=0.05)
    own = 1 / (1 + 5 * math.exp(-20))
    torch.testing.assert_close(q.diagonal(), torch.full((6,), own, dtype=F64), rtol=1e-12, atol=0)


def test_cosines_over_a_small_epsilon_do_not_overflow() -> None:
    assert moments.sinkhorn(torch.eye(6), epsilon=1e-3).isfinite().all()


def test_assignments_carry_no_gradient() -> None:
    assert not moments.sinkhorn(scores(4, 3).requires_grad_()).requires_grad


def test_cross_moment_is_the_mean_outer_product() -> None:
    x, y = scores(7, 3), scores(7, 5, 1)
    expected = sum(torch.outer(a, b) for a, b in zip(x, y, strict=True)) / 7
    torch.testing.assert_close(moments.cross_moment(x, y), expected)
    with pytest.raises(Exception, match="B"):
        moments.cross_moment(x, y[:3])


# VICReg


def vicreg_by_loops(x: Tensor, y: Tensor, invariance: float, variance: float, covariance: float) -> float:
    """Its formula, one entry at a time."""
    n, d = x.shape
    total = invariance * sum(float((x[i, j] - y[i, j]) ** 2) for i in range(n) for j in range(d)) / (n * d)
    for z in (x, y):
        mean = [sum(float(z[i, j]) for i in range(n)) / n for j in range(d)]
        for j in range(d):
            for k in range(d):
                moment = sum((float(z[i, j]) - mean[j]) * (float(z[i, k]) - mean[k]) for i in range(n)) / (
                    n - 1
                )
                if j == k:
                    total += variance * max(0.0, 1 - (moment + 1e-4) ** 0.5) / d
                else:
                    total += covariance * moment**2 / d
    return total


def test_vicreg_is_its_formula_and_leaves_rows_of_weight_0_out() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(7, 4, generator=g, dtype=torch.float64) * s for s in (0.3, 2.0))
    expected = vicreg_by_loops(x, y, 25.0, 25.0, 1.0)
    assert moments.vicreg(x, y).item() == pytest.approx(expected)
    weights = torch.tensor([1.0, 0, 1, 1, 0, 1, 1], dtype=torch.float64)
    kept = weights > 0
    found = moments.vicreg(x, y, weights, invariance=1.0, variance=2.0, covariance=3.0)
    assert found.item() == pytest.approx(vicreg_by_loops(x[kept], y[kept], 1.0, 2.0, 3.0))
    assert moments.vicreg(x, y, torch.eye(7, dtype=torch.float64)[0]) == 0
    assert moments.vicreg(x, y, torch.zeros(7, dtype=torch.float64)) == 0


def test_vicreg_is_that_of_lightly_with_its_gradients() -> None:
    """Lightly takes the mean of the two sides' variances, and ours their sum, as in the paper."""
    loss = pytest.importorskip("lightly.loss", reason="install it for parity: pip install lightly")
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(9, 5, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
    ours = moments.vicreg(x, y, invariance=25.0, variance=10.0, covariance=2.0)
    theirs = loss.VICRegLoss(lambda_param=25.0, mu_param=20.0, nu_param=2.0)(x, y)
    torch.testing.assert_close(ours, theirs)
    for found, expected in zip(
        torch.autograd.grad(ours, (x, y)), torch.autograd.grad(theirs, (x, y)), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_vicreg_has_finite_gradients_for_what_has_collapsed() -> None:
    x = torch.zeros(5, 3, dtype=torch.float64, requires_grad=True)
    moments.vicreg(x, x.detach() + 1).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_without_iterations_nothing_is_balanced() -> None:
    s = scores(5, 3)
    torch.testing.assert_close(moments.sinkhorn(s, epsilon=0.3, iterations=0), (s / 0.3).softmax(1))
