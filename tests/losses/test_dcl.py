"""Decoupled contrast: closed forms, the factor it drops, weights of positives."""

from __future__ import annotations

import math

import pytest
import torch

from counterpoint.losses import DCLLoss, NTXentLoss
from fixtures.vectors import F64, pair


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("tau", [1.0, 0.1])
def test_orthonormal_examples_with_equal_views(n: int, tau: float) -> None:
    x = torch.eye(n, dtype=F64)
    expected = 2 * (math.log(2 * (n - 1)) - 1 / tau)
    assert DCLLoss(tau)(x, x).item() == pytest.approx(expected, rel=1e-12)


def test_the_loss_can_be_negative() -> None:
    x = torch.eye(2, dtype=F64)
    assert DCLLoss(0.1)(x, x).item() < -15
    assert not DCLLoss.bounded_below


def test_gradient_ntxent_anchor_probability_negatives_times_this() -> None:
    x, y = pair(6, 5)
    (ours,), (theirs,) = DCLLoss(0.2).explain(x, y).forces, NTXentLoss(0.2).explain(x, y).forces
    z = torch.cat([x, y]).detach()
    p = (z @ z.T / 0.2).fill_diagonal_(-math.inf).softmax(1)
    q = 1 - p.roll(6, 1).diagonal()
    assert q.min() < 0.9
    # DCL sums two means over B anchors, NT-Xent is one mean over 2B.
    torch.testing.assert_close(theirs.pull, q[:, None] * ours.pull / 2, rtol=1e-10, atol=1e-14)


def test_neither_view_of_an_example_is_its_own_negative() -> None:
    x, y = pair(6, 5)
    (force,) = DCLLoss(0.2).explain(x, y).forces
    both = [force.pull.diagonal(), force.pull.roll(6, 1).diagonal()]
    torch.testing.assert_close(both[0], torch.zeros(12, dtype=F64), rtol=0, atol=0)
    torch.testing.assert_close(both[1], torch.full((12,), 2.0, dtype=F64), rtol=1e-12, atol=0)
    assert all(len(force.negatives(a)) == 10 for a in range(12))


def test_weights_are_two_minus_the_batch_times_the_softmax() -> None:
    x, y = pair(6, 5)
    weights = DCLLoss(sigma=1.0).weights(x, y)
    closeness = (x * y).sum(1).detach()
    torch.testing.assert_close(weights, 2 - 6 * closeness.softmax(0), rtol=1e-12, atol=0)
    assert weights.mean().item() == pytest.approx(1, rel=1e-12)
    assert weights.argmax() == closeness.argmin()


def test_no_positive_is_pushed_away_by_its_weight() -> None:
    x = torch.eye(4, dtype=F64)
    y = torch.cat([x[:1], -x[1:]])
    weights = DCLLoss(sigma=0.1).weights(x, y)
    torch.testing.assert_close(weights, torch.tensor([0.0, 2, 2, 2], dtype=F64), rtol=1e-6, atol=0)


def test_weights_take_no_gradient() -> None:
    x, y = pair(6, 5)
    weights = DCLLoss().weights(x, y)
    added = 2 * ((1 - weights) * (x * y).sum(1)).mean() / 0.1
    ours = torch.autograd.grad(DCLLoss(0.1, weighted=True)(x, y), [x, y])
    plain = torch.autograd.grad(DCLLoss(0.1)(x, y) + added, [x, y])
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


def test_equally_close_positives_weigh_one() -> None:
    x, _ = pair(6, 5)
    torch.testing.assert_close(DCLLoss(weighted=True)(x, x), DCLLoss()(x, x), rtol=1e-12, atol=0)


def test_a_batch_of_one_has_only_its_positive_term() -> None:
    x, y = pair(1, 5)
    with pytest.warns(UserWarning, match="DCL of one example has no negatives"):
        loss = DCLLoss(0.5)(x, y)
    torch.testing.assert_close(loss, -2 * (x * y).sum() / 0.5, rtol=1e-12, atol=0)
