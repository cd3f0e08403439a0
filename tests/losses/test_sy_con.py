"""Sy-CON: both denominators hold the same negatives, each view meets the other's queues, the positive stays."""

from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import MoCoLoss, SyConBatchLoss, SyConLoss
from fixtures.vectors import F64, unit


def views(n: int, seed: int) -> list[Tensor]:
    return [unit(n, 5, seed=seed), unit(n, 5, seed=seed + 50)]


Q, K, P, FROZEN = (views(4, seed) for seed in range(1, 5))
QUEUE, PREVIOUS = views(6, 5), views(9, 6)


def test_is_four_losses_against_the_joined_queues() -> None:
    banks = [torch.cat(pair) for pair in zip(QUEUE, PREVIOUS, strict=True)]
    moco, tau = MoCoLoss(0.2), MoCoLoss(0.5)
    expected = moco(Q[0], K[1], banks[1]) + moco(Q[1], K[0], banks[0])
    expected = expected + tau(P[0], FROZEN[0], banks[1]) + tau(P[1], FROZEN[1], banks[0])
    loss = SyConLoss(0.2, stability_temperature=0.5)(Q, K, P, FROZEN, QUEUE, PREVIOUS)
    torch.testing.assert_close(loss, expected / 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize("which", [4, 5], ids=["queue", "previous_queue"])
def test_a_view_meets_the_queues_of_the_other_view(which: int) -> None:
    def gradients(inputs: list[list[Tensor]]) -> tuple[Tensor, ...]:
        leaves = [t.clone().requires_grad_() for side in (inputs[0], inputs[2]) for t in side]
        loss = SyConLoss()(leaves[:2], inputs[1], leaves[2:], *inputs[3:])
        return torch.autograd.grad(loss, leaves)

    inputs = [Q, K, P, FROZEN, QUEUE, PREVIOUS]
    changed = [*inputs[:which], [-inputs[which][0], inputs[which][1]], *inputs[which + 1 :]]
    same = [torch.equal(a, b) for a, b in zip(gradients(inputs), gradients(changed), strict=True)]
    assert same == [True, False, True, False]  # q_A, q_B, p_A, p_B


def test_only_queries_and_predictions_get_a_gradient() -> None:
    sides = [[t.clone().requires_grad_() for t in side] for side in (Q, K, P, FROZEN, QUEUE, PREVIOUS)]
    SyConLoss()(*sides).backward()
    learned = [all(t.grad is not None for t in side) for side in sides]
    assert learned == [True, False, True, False, False, False]
    assert not any(t.grad is not None for side in (*sides[1:2], *sides[3:]) for t in side)


def test_stability_reaches_the_encoder_through_the_predictor() -> None:
    q = [t.clone().requires_grad_() for t in Q]
    predictor = torch.nn.Linear(5, 5).double()
    p = [F.normalize(predictor(t), dim=-1) for t in q]
    with_p = torch.autograd.grad(SyConLoss()(q, K, p, FROZEN, QUEUE, PREVIOUS), q[0], retain_graph=True)[0]
    without = torch.autograd.grad(SyConLoss()(q, K, [t.detach() for t in p], FROZEN, QUEUE, PREVIOUS), q[0])[
        0
    ]
    assert not torch.allclose(with_p, without)


def test_keys_of_the_own_item_are_no_negatives_in_either_queue() -> None:
    ids = torch.tensor([0])
    queue_ids, previous_ids = torch.tensor([0, 0, 1, 2, 3, 4]), torch.tensor([0, -1, -1, 0, 1, 2, 3, 4, 0])
    one = [[t[:1] for t in side] for side in (Q, K, P, FROZEN)]
    loss = SyConLoss()(*one, QUEUE, PREVIOUS, ids, [queue_ids, queue_ids], [previous_ids, previous_ids])
    left = [t[queue_ids != 0] for t in QUEUE], [t[previous_ids != 0] for t in PREVIOUS]
    torch.testing.assert_close(loss, SyConLoss()(*one, *left), rtol=1e-12, atol=0)


def test_on_batches_is_two_masked_cross_entropies() -> None:
    z, f, p = torch.cat(Q), torch.cat(FROZEN), torch.cat(P)
    eye, never = torch.eye(8, dtype=torch.bool), torch.zeros(8, 8, dtype=torch.bool)
    plasticity = (
        torch.cat([z @ z.T, z @ f.T], 1).div(0.2).masked_fill(torch.cat([eye, eye], 1), float("-inf"))
    )
    stability = (
        torch.cat([p @ f.T, p @ z.T], 1).div(0.5).masked_fill(torch.cat([never, eye], 1), float("-inf"))
    )
    a = torch.arange(8)
    expected = F.cross_entropy(plasticity, (a + 4) % 8) + F.cross_entropy(stability, a)
    loss = SyConBatchLoss(0.2, stability_temperature=0.5)(Q, P, FROZEN)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_on_batches_positive_of_stability_stays_in_denominator() -> None:
    # Everything orthogonal but the predictions, which are perfect: 14 others each, and log 14 − 10 without it.
    x = torch.eye(8, dtype=F64)
    apart = [x[:4], x[4:]]
    loss = SyConBatchLoss(0.1, stability_temperature=0.1)(apart, apart, apart)
    assert loss.item() == pytest.approx(math.log(14) + math.log(1 + 14 * math.exp(-10)), rel=1e-12)


def test_on_batches_only_the_previous_outputs_get_no_gradient() -> None:
    z, p, f = ([t.clone().requires_grad_() for t in side] for side in (Q, P, FROZEN))
    SyConBatchLoss()(z, p, f).backward()
    assert all(t.grad is not None for t in (*z, *p))
    assert all(t.grad is None for t in f)


def test_a_present_example_is_pushed_off_by_others_predictions() -> None:
    z = [t.clone().requires_grad_() for t in Q]
    fixed = [t.detach() for t in P]
    here = torch.autograd.grad(SyConBatchLoss()(z, fixed, FROZEN), z[0])[0]
    there = torch.autograd.grad(SyConBatchLoss()(z, [-t for t in fixed], FROZEN), z[0])[0]
    assert not torch.allclose(here, there)  # z is a negative of the stability term, with gradient


def test_takes_two_views() -> None:
    with pytest.raises(ValueError, match="takes two views, got 1 of p"):
        SyConBatchLoss()(Q, P[:1], FROZEN)
    with pytest.raises(ValueError, match="row i of one must belong"):
        unwrap(SyConBatchLoss.forward)(SyConBatchLoss(), Q, views(3, 0), FROZEN)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("which", [4, 5], ids=["queue", "previous_queue"])
def test_queues_come_in_two_views(which: int, count: int) -> None:
    inputs = [Q, K, P, FROZEN, QUEUE, PREVIOUS]
    inputs[which] = [*inputs[which], *inputs[which]][:count]
    with pytest.raises(ValueError, match=f"takes two views, got {count} of "):
        SyConLoss()(*inputs)


@pytest.mark.parametrize(
    "given", ["ids", "queue_ids", "previous_ids", "ids queue_ids", "queue_ids previous_ids"]
)
def test_ids_of_a_part_alone_are_refused(given: str) -> None:
    every = {
        "ids": torch.arange(4),
        "queue_ids": [torch.arange(6)] * 2,
        "previous_ids": [torch.arange(9)] * 2,
    }
    with pytest.raises(ValueError, match="give all of them, or none"):
        SyConLoss()(Q, K, P, FROZEN, QUEUE, PREVIOUS, **{name: every[name] for name in given.split()})  # type: ignore[arg-type]
