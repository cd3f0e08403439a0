"""SimCSE: one-way InfoNCE, and hard negatives with their weight."""

from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F

from counterpoint.losses import SimCSELoss, WhitenedCSELoss
from fixtures.vectors import F64, views


def test_cosines_are_multiplied_by_20() -> None:
    x = torch.eye(5, dtype=F64)
    assert SimCSELoss()(x, x).item() == pytest.approx(math.log1p(4 * math.exp(-20)), rel=1e-9)


@pytest.mark.parametrize("weight", [0.0, 1.5, -2.0])
def test_hard_negatives_are_further_columns_of_a_cross_entropy(weight: float) -> None:
    x, y, hard = views(3, 6, 4)
    logits = torch.cat([x @ y.T, x @ hard.T], 1) / 0.05
    logits = logits + weight * torch.cat([torch.zeros(6, 6, dtype=F64), torch.eye(6, dtype=F64)], 1)
    loss = SimCSELoss(hard_negative_weight=weight)(x, y, hard)
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.arange(6)), rtol=1e-12, atol=0)


def test_weight_is_logarithm_of_how_often_own_negative_counts() -> None:
    e = torch.eye(6, dtype=F64)
    x, hard = e[:3], e[3:]
    # The match at 1, everything else at 0: two other y, two other negatives, the own one 4 times.
    loss = SimCSELoss(1.0, hard_negative_weight=math.log(4))(x, x, hard)
    assert loss.item() == pytest.approx(math.log(1 + (2 + 2 + 4) / math.e), rel=1e-12)


def test_own_negatives_count_among_those_of_all() -> None:
    x, y, hard = views(3, 6, 4)
    without, far = SimCSELoss()(x, y), SimCSELoss(hard_negative_weight=-1e4)(x, y, hard)
    others = torch.cat([x @ y.T, (x @ hard.T).masked_fill(torch.eye(6, dtype=torch.bool), -math.inf)], 1)
    expected = F.cross_entropy(others / 0.05, torch.arange(6))
    torch.testing.assert_close(far, expected, rtol=1e-12, atol=0)
    assert far > without


def test_a_sentence_twice_in_the_batch_is_a_false_negative() -> None:
    x = torch.eye(4, dtype=F64)[[0, 1, 2, 2]]
    assert SimCSELoss()(x, x).item() == pytest.approx(math.log(2) / 2, abs=1e-6)


def test_whitened_loss_sums_the_first_view_against_each_other() -> None:
    x, y, z = views(3, 6, 4)
    loss = WhitenedCSELoss(0.2)(x, y, z)
    one = SimCSELoss(0.2)
    torch.testing.assert_close(loss, one(x, y) + one(x, z), rtol=1e-12, atol=0)
    torch.testing.assert_close(WhitenedCSELoss(0.2)(x, y), one(x, y), rtol=0, atol=0)
    # Not one loss with the columns of both.
    joined = torch.cat([x @ y.T, x @ z.T], 1) / 0.2
    assert abs(loss.item() - 2 * F.cross_entropy(joined, torch.arange(6)).item()) > 0.1


def test_bad_arguments_are_refused() -> None:
    x, y, hard = views(3, 6, 4)
    with pytest.raises(ValueError, match=r"x is \(6, 4\) but negatives is \(5, 4\)"):
        unwrap(SimCSELoss.forward)(SimCSELoss(), x, y, hard[:5])
    with pytest.raises(ValueError, match=r"an example needs at least 2 views, got 1"):
        WhitenedCSELoss()(x)
