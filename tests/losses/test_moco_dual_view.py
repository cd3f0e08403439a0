"""The dual view: which keys count, what the key as an anchor does, and when it is MoCo."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from counterpoint.losses import DualViewLoss, MoCoLoss
from fixtures.vectors import unit

Q, K, QUEUE = unit(4, 5, seed=1), unit(4, 5, seed=2), unit(9, 5, seed=3)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"num_hard": 3}, slice(0, 3)),
        ({"num_hard": 1}, slice(0, 1)),
        ({"num_hard": 0.25}, slice(0, 3)),  # of 9, rounded up
        ({"num_hard": 3, "skip_top": 2}, slice(2, 5)),
        ({"num_hard": 100, "skip_top": 8}, slice(8, 9)),
        ({"num_hard": None, "skip_top": 4}, slice(4, 9)),
    ],
    ids=str,
)
def test_keeps_the_hardest_after_those_passed_over(options: dict[str, Any], kept: slice) -> None:
    by_similarity = (Q @ QUEUE.T).argsort(descending=True)
    each = [MoCoLoss(0.2)(Q[i : i + 1], K[i : i + 1], QUEUE[by_similarity[i, kept]]) for i in range(4)]
    loss = DualViewLoss(0.2, **options)(Q, K, QUEUE)
    torch.testing.assert_close(loss, torch.stack(each).mean(), rtol=1e-12, atol=0)


def test_a_share_is_rounded_up_and_not_by_the_last_bit() -> None:
    queue = unit(100, 5, seed=3)
    found, seven = (DualViewLoss(0.2, num_hard=num_hard)(Q, K, queue) for num_hard in (0.07, 7))
    assert torch.equal(found, seven)


def test_the_key_as_an_anchor_attracts_and_does_not_repel() -> None:
    q = Q.clone().requires_grad_()
    both, one = DualViewLoss(0.2, num_hard=4, key_weight=0.3), DualViewLoss(0.2, num_hard=4)
    (found,) = torch.autograd.grad(both(q, K, QUEUE) - one(q, K, QUEUE), q)
    hard = (K @ QUEUE.T).topk(4).values
    p = torch.cat([(Q * K).sum(-1, keepdim=True), hard], 1).div(0.2).softmax(1)[:, :1]
    torch.testing.assert_close(found, -0.3 * (1 - p) * K / 0.2 / 4, rtol=1e-10, atol=1e-13)


def test_each_anchor_has_its_own_hardest_keys() -> None:
    loss = DualViewLoss(0.2, num_hard=1, key_weight=1.0)(Q, K, QUEUE)
    there = DualViewLoss(0.2, num_hard=1)
    torch.testing.assert_close(loss, there(Q, K, QUEUE) + there(K, Q, QUEUE), rtol=1e-12, atol=0)


def test_both_views_together_are_the_mean_of_either() -> None:
    loss = DualViewLoss(0.2, num_hard=3)
    ways = (loss(Q, K, QUEUE) + loss(unit(4, 5, seed=6), unit(4, 5, seed=7), QUEUE)) / 2
    stacked = loss(torch.cat([Q, unit(4, 5, seed=6)]), torch.cat([K, unit(4, 5, seed=7)]), QUEUE)
    torch.testing.assert_close(stacked, ways, rtol=1e-12, atol=0)


@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_keys_of_own_item_do_not_fill_the_places_of_the_hardest(evaluator: str) -> None:
    ids, queue_ids = torch.zeros(1, dtype=torch.int64), torch.zeros(9, dtype=torch.int64)
    queue_ids[2:4] = 1
    loss = DualViewLoss(0.2, num_hard=5).evaluated(evaluator, tile=2)  # type: ignore[arg-type]
    found = loss(Q[:1], K[:1], QUEUE, ids, queue_ids)
    torch.testing.assert_close(found, MoCoLoss(0.2)(Q[:1], K[:1], QUEUE[2:4]), rtol=1e-12, atol=0)
    q, none = Q[:1].clone().requires_grad_(), torch.zeros(9, dtype=torch.int64)
    (gradient,) = torch.autograd.grad(loss(q, K[:1], QUEUE, ids, none), q)
    assert not gradient.any()


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_the_hardest_keys_are_explained(weight: float) -> None:
    away, *_ = DualViewLoss(0.2, num_hard=3, key_weight=weight).explain(Q, K, QUEUE).forces
    assert (away.pull < 0).sum(1).tolist() == [3] * 4
    assert [set(away.negatives(i)) for i in range(4)] == [
        set((Q @ QUEUE.T)[i].topk(3).indices.tolist()) for i in range(4)
    ]


def test_by_default_the_key_is_no_anchor() -> None:
    assert DualViewLoss().key_weight == 0  # a weight near 1 makes the queries collapse


def test_passing_over_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="skip_top=9 leaves none of the 9 keys"):
        DualViewLoss(skip_top=9)(Q, K, QUEUE)
