"""Joint entropy: its bounds and its direction."""

from __future__ import annotations

import math

import pytest
import torch

from counterpoint.losses import AlignUniformLoss, JointEntropyLoss

DRAWS = torch.Generator().manual_seed(0)
X, Y = (torch.randn(9, width, generator=DRAWS, dtype=torch.float64) for width in (4, 3))


def test_it_lies_between_examples_all_apart_and_all_alike() -> None:
    loss = JointEntropyLoss()
    assert loss(torch.ones(9, 4), torch.zeros(9, 3)).item() == pytest.approx(0)
    assert loss(100 * X, Y).item() == pytest.approx(-math.log(9)) == loss(X, 100 * Y).item()
    assert -math.log(9) < loss(X / 9, Y / 9).item() < 0


def test_less_of_it_is_more_entropy() -> None:
    x = X.clone().requires_grad_()
    loss = JointEntropyLoss(2.0)(x, Y)
    (gradient,) = torch.autograd.grad(loss, x)
    moved = (x - 0.1 * gradient).detach()
    assert torch.pdist(moved).mean() > torch.pdist(X).mean()


def test_one_code_tells_nothing_of_other_where_that_is_one_point() -> None:
    one = torch.zeros(9, 2, dtype=torch.float64)
    torch.testing.assert_close(JointEntropyLoss()(X, one), JointEntropyLoss()(one, X))
    # Beside uniformity: the log is within the mean over examples, and the own pair is among them.
    kernel = (-torch.cdist(X, X).square()).exp()
    torch.testing.assert_close(JointEntropyLoss()(X, one), kernel.mean(1).log().mean())
    assert JointEntropyLoss()(X, one) > AlignUniformLoss(t=1.0).spread(X, X)
