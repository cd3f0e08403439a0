"""NT-Xent with pairs chosen by a teacher: each rule on planted teachers, and what no rule may do."""

from __future__ import annotations

import math
from inspect import unwrap
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import GuidedNTXentLoss
from fixtures.vectors import unit

RULES = ["add_positive", "drop_false_positive", "drop_false_negative", "drop_easy_negative"]


def views(n: int = 6) -> tuple[Tensor, Tensor]:
    z = unit(2 * n, 5)
    return z[:n].requires_grad_(), z[n:].requires_grad_()


def of_classes(*classes: int) -> Tensor:
    """A teacher to which examples of a class are nearly alike, each a little less like the one before."""
    spread = 0.02 * unit(len(classes), 5, seed=1)
    return 3 * F.one_hot(torch.tensor(classes), 5).double() + spread


def call(objective: GuidedNTXentLoss, x: Tensor, y: Tensor, teacher_x: Tensor, teacher_y: Tensor) -> Tensor:
    return objective(x, y, teacher_x=teacher_x, teacher_y=teacher_y)


def test_new_positive_view_another_example_teacher_finds_closest() -> None:
    x, y = views(4)
    # Examples 0 and 2 go together, and 1 and 3, by way of first views (0 to 3) and second ones (4 to 7).
    first, second = of_classes(0, 1, 0, 1), of_classes(2, 3, 2, 3)
    explanation = GuidedNTXentLoss(temperature=1.0).explain(x, y, teacher_x=first, teacher_y=second)
    (force,) = explanation.forces
    new = [2, 3, 0, 1, 6, 7, 4, 5]
    assert [set(force.positives(a)) for a in range(8)] == [{(a + 4) % 8, new[a]} for a in range(8)]


def test_both_positives_share_one_denominator() -> None:
    x, y = views(4)
    first, second = of_classes(0, 1, 0, 1), of_classes(2, 3, 2, 3)
    z = torch.cat([x, y])
    s = (z @ z.T / 0.1).fill_diagonal_(-math.inf)
    targets = [torch.arange(8).roll(4), torch.tensor([2, 3, 0, 1, 6, 7, 4, 5])]
    expected = sum(F.cross_entropy(s, target) for target in targets) / 2
    torch.testing.assert_close(call(GuidedNTXentLoss(), x, y, first, second), expected, rtol=1e-12, atol=0)


def test_false_positives_no_anchors_and_mean_is_over_those_stay() -> None:
    # The released code computes the loss anew after masking, and so drops nothing.
    x, y = views()
    teacher = of_classes(0, 1, 2, 3, 4, 0)
    other = teacher.clone()
    other[[1, 4]] = teacher[[2, 3]]  # whose two views show different things
    z = torch.cat([x, y])
    s = (z @ z.T / 0.1).fill_diagonal_(-math.inf)
    each = F.cross_entropy(s, torch.arange(12).roll(6), reduction="none")
    stay = [0, 2, 3, 5, 6, 8, 9, 11]
    loss = call(GuidedNTXentLoss("drop_false_positive", ratio=0.34), x, y, teacher, other)  # 4 of 12
    torch.testing.assert_close(loss, each[stay].mean(), rtol=1e-12, atol=0)
    assert abs(loss - each.mean()) > 1e-3


def test_false_negatives_leave_denominator_and_the_partner_stays() -> None:
    x, y = views(4)
    teacher = of_classes(0, 0, 1, 1)
    # The 4 of 8 views most like an anchor are those of its class: itself, its partner, and two to drop.
    objective = GuidedNTXentLoss("drop_false_negative", ratio=0.5, temperature=1.0)
    (force,) = objective.explain(x, y, teacher_x=teacher, teacher_y=teacher).forces
    of_class = {0: {2, 3, 6, 7}, 1: {0, 1, 4, 5}}
    for a in range(8):
        assert set(force.negatives(a)) == of_class[a % 4 // 2]
        assert force.positives(a) == [(a + 4) % 8]


def test_easy_negatives_leave_denominator_where_partner_one_of() -> None:
    x, y = views(4)
    first, second = of_classes(0, 0, 1, 1), of_classes(2, 2, 3, 3)
    # Of an anchor, 2 views are of its class; the other 6 are dropped, but for the partner among them.
    objective = GuidedNTXentLoss("drop_easy_negative", ratio=0.75, temperature=1.0)
    (force,) = objective.explain(x, y, teacher_x=first, teacher_y=second).forces
    for a in range(8):
        assert force.negatives(a) == [a ^ 1]
        assert force.positives(a) == [(a + 4) % 8]


@pytest.mark.parametrize("rule", RULES)
def test_no_gradient_reaches_teacher_and_lengths_do_not_matter(rule: Any) -> None:
    x, y = views()
    teachers = [unit(6, 5, seed=s).requires_grad_() for s in (2, 3)]
    objective = GuidedNTXentLoss(rule, ratio=0.3)
    loss = call(objective, x, y, *teachers)
    assert torch.autograd.grad(loss, teachers, allow_unused=True, retain_graph=True) == (None, None)
    torch.testing.assert_close(call(objective, x, y, 7 * teachers[0], 0.1 * teachers[1]), loss)


def test_a_share_is_rounded_down_and_not_by_the_last_bit() -> None:
    x, y = views(50)
    teacher = of_classes(*range(5)).repeat(10, 1) + 0.1 * unit(50, 5, seed=3)
    share, more = (GuidedNTXentLoss("drop_false_negative", ratio=ratio) for ratio in (0.29, 0.295))
    torch.testing.assert_close(call(share, x, y, teacher, teacher), call(more, x, y, teacher, teacher))


def test_defaults_are_the_shares_of_the_paper() -> None:
    assert [GuidedNTXentLoss(rule).ratio for rule in RULES[1:]] == [0.1, 0.05, 0.1]  # type: ignore[arg-type] # literals


def test_a_teacher_of_other_examples_is_refused() -> None:
    x, y = views()
    objective = GuidedNTXentLoss()
    with pytest.raises(ValueError, match="the teacher must embed the same views: 6 rows, got 5"):
        unwrap(GuidedNTXentLoss.forward)(objective, x, y, teacher_x=unit(5, 5), teacher_y=unit(5, 5))
