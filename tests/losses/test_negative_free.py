"""Losses without negatives: negative cosine and Barlow Twins."""

from __future__ import annotations

import pytest
import torch

from counterpoint.losses import BarlowTwinsLoss, NegativeCosineLoss
from fixtures.vectors import F64, unit


def test_distance_is_zero_two_and_four() -> None:
    x = unit(500, 32)
    assert NegativeCosineLoss()(x, x).item() == pytest.approx(0, abs=1e-12)
    assert NegativeCosineLoss()(x, -x).item() == pytest.approx(4)
    # The mean of 500 cosines in 32 dimensions has standard deviation 1/sqrt(500 * 32) = 0.008.
    assert NegativeCosineLoss()(x, unit(500, 32, seed=1)).item() == pytest.approx(2, abs=0.06)


def test_the_target_does_not_move() -> None:
    p, v = unit(4, 3).requires_grad_(), unit(4, 3, seed=1).requires_grad_()
    NegativeCosineLoss()(p, v).backward()
    assert v.grad is None
    assert p.grad is not None
    torch.testing.assert_close(p.grad, -2 * v.detach() / 4)


def standardised(n: int, d: int, seed: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=g, dtype=F64)
    return (z - z.mean(0)) / z.std(0, correction=0)


def test_decorrelated_equal_inputs_cost_nothing() -> None:
    z = standardised(64, 8, 0)
    q, _ = torch.linalg.qr(z)
    q = q * 64**0.5
    assert BarlowTwinsLoss()(q, q).item() == pytest.approx(0, abs=1e-12)


def test_independent_inputs_cost_what_the_card_says() -> None:
    n, d = 400, 200
    expected = 0.025 * (d + 0.005 * d**2 / n)
    losses = [BarlowTwinsLoss()(standardised(n, d, k), standardised(n, d, 50 + k)).item() for k in range(5)]
    assert sum(losses) / 5 == pytest.approx(expected, rel=0.01)


def test_scale_and_redundancy_are_the_weights_of_their_parts() -> None:
    u, v = standardised(16, 5, 0), standardised(16, 5, 1)
    c = u.T @ v / 16
    diagonal = (c.diagonal() - 1).square().sum()
    off = c.square().sum() - c.diagonal().square().sum()
    torch.testing.assert_close(BarlowTwinsLoss(2.0, 0.0)(u, v), 2 * diagonal)
    torch.testing.assert_close(BarlowTwinsLoss(1.0, 0.7)(u, v), diagonal + 0.7 * off)
