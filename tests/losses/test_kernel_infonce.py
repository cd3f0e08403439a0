"""InfoNCE under kernels of a distance: closed forms, the Gaussian as NT-Xent, coinciding views, mixtures."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from counterpoint.losses import KernelInfoNCELoss
from fixtures.vectors import F64, pair

SMALL = 1e-6  # the constant inside the root


@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_orthonormal_examples_with_equal_views(n: int, gamma: float) -> None:
    x = torch.eye(n, dtype=F64)
    gap = (2 + SMALL) ** (gamma / 2) - SMALL ** (gamma / 2)
    expected = math.log(1 + 2 * (n - 1) * math.exp(-gap / 0.3))
    loss = KernelInfoNCELoss(gamma, temperature=0.3)(x, x)
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_gaussian_loss_is_trace_of_a_laplacian_and_a_repulsion() -> None:
    x, y = pair(5, 4)
    z, tau = torch.cat([x, y]), 0.4
    similarity = torch.eye(10, dtype=F64).roll(5, 1)  # each view's partner, with certainty
    laplacian = torch.eye(10, dtype=F64) - similarity
    kernel = (-torch.cdist(z, z).square() / tau).exp().fill_diagonal_(0)
    expected = 2 / tau * (z.T @ laplacian @ z).trace() + kernel.sum(1).log().sum()
    torch.testing.assert_close(
        KernelInfoNCELoss(2.0, temperature=tau)(x, y), expected / 10, rtol=1e-10, atol=0
    )


@pytest.mark.parametrize("gamma", [0.5, 1.0])
@pytest.mark.parametrize("mix", ["none", "loss", "kernel", "concatenation"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_coinciding_views_have_no_infinite_gradient(gamma: float, mix: Any, dtype: torch.dtype) -> None:
    # Both views of all examples are one point: its gradient is 0 by symmetry.
    x = F.normalize(torch.ones(4, 6, dtype=dtype), dim=-1).requires_grad_()
    loss = KernelInfoNCELoss(gamma, mix=mix)(x, x)
    assert loss.item() == pytest.approx(math.log(7), rel=1e-4)
    (gradient,) = torch.autograd.grad(loss, x)
    assert gradient.abs().max() < 1e-2


def test_kernels_that_underflow_are_told_apart_in_the_log_domain() -> None:
    x = torch.eye(2, dtype=F64)
    # Partners at squared distance 4, the two others at 2; every kernel is below 10^-800.
    loss = KernelInfoNCELoss(2.0, temperature=0.001)(x, -x)
    assert loss.item() == pytest.approx(math.log(2) + 2 / 0.001, rel=1e-12)


def test_mixture_losses_between_mixture_of_kernels_another_thing() -> None:
    x, y = pair(6, 4)
    laplace, gauss = KernelInfoNCELoss(1.0)(x, y), KernelInfoNCELoss(2.0)(x, y)
    losses = KernelInfoNCELoss(1.0, mix="loss", lam=0.25)(x, y)
    torch.testing.assert_close(losses, 0.25 * laplace + 0.75 * gauss, rtol=1e-12, atol=0)
    assert abs(KernelInfoNCELoss(1.0, mix="kernel", lam=0.25)(x, y) - losses) > 1e-3


def test_a_concatenation_looks_at_each_half_by_its_own_kernel() -> None:
    x, y = pair(6, 4)
    constant = torch.ones(6, 4, dtype=F64)
    objective = KernelInfoNCELoss(1.0, mix="concatenation", lam=0.3, temperature=0.2)
    nothing = math.log(11)  # of the half that tells no two views apart
    first = objective(torch.cat([x, constant], 1), torch.cat([y, constant], 1))
    second = objective(torch.cat([constant, x], 1), torch.cat([constant, y], 1))
    laplace, gauss = (KernelInfoNCELoss(g, temperature=0.2)(x, y) for g in (1.0, 2.0))
    torch.testing.assert_close(first, 0.3 * laplace + 0.7 * nothing, rtol=1e-10, atol=0)
    torch.testing.assert_close(second, 0.3 * nothing + 0.7 * gauss, rtol=1e-10, atol=0)


def test_one_dimension_has_no_halves() -> None:
    x = torch.ones(3, 1, dtype=F64)
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        KernelInfoNCELoss(mix="concatenation")(x, x)
