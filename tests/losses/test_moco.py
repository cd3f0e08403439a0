"""MoCo's loss: closed forms, its gradient, what is a negative and what is not."""

from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F

from counterpoint.losses import MoCoLoss
from counterpoint.pairwise.reduce import Evaluator
from fixtures.vectors import F64, unit

Q, K, QUEUE = unit(4, 5, seed=1), unit(4, 5, seed=2), unit(9, 5, seed=3)


def test_orthonormal_keys() -> None:
    x = torch.eye(8, dtype=F64)
    expected = math.log(1 + 5 * math.exp(-1 / 0.07))
    assert MoCoLoss(0.07)(x[:3], x[:3], x[3:]).item() == pytest.approx(expected, rel=1e-9)


def test_is_a_cross_entropy_over_the_key_and_the_queue() -> None:
    q = Q.clone().requires_grad_()
    positive = (q * K).sum(-1, keepdim=True)
    logits = torch.cat([positive, q @ QUEUE.T], 1) / 0.2
    assert logits.shape == (4, 1 + 9)
    plain = F.cross_entropy(logits, torch.zeros(4, dtype=torch.int64))
    (expected,) = torch.autograd.grad(plain, q)
    loss = MoCoLoss(0.2)(q, K, QUEUE)
    (found,) = torch.autograd.grad(loss, q)
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_gradient_of_a_query_is_its_mean_negative_minus_its_key() -> None:
    q = Q.clone().requires_grad_()
    p = torch.cat([(Q * K).sum(-1, keepdim=True), Q @ QUEUE.T], 1).div(0.2).softmax(1)
    expected = (p[:, 1:] @ QUEUE - (1 - p[:, :1]) * K) / 0.2 / 4
    (found,) = torch.autograd.grad(MoCoLoss(0.2)(q, K, QUEUE), q)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_keys_and_queue_get_no_gradient(evaluator: str) -> None:
    q, k, queue = (t.clone().requires_grad_() for t in (Q, K, QUEUE))
    MoCoLoss().evaluated(evaluator, tile=2)(q, k, queue).backward()  # type: ignore[arg-type]
    assert q.grad is not None
    assert k.grad is None
    assert queue.grad is None


def test_keys_of_the_own_item_are_no_negatives_whatever_they_are() -> None:
    ids, queue_ids = torch.tensor([0, 1, 2, 0]), torch.tensor([-1, 0, 0, 5, 6, 0, -1, 7, 8])
    of_item_0 = queue_ids == 0
    loss = MoCoLoss(0.2)(Q[:1], K[:1], QUEUE, ids[:1], queue_ids)
    torch.testing.assert_close(loss, MoCoLoss(0.2)(Q[:1], K[:1], QUEUE[~of_item_0]), rtol=1e-12, atol=0)
    changed = torch.where(of_item_0[:, None], unit(9, 5, seed=8), QUEUE)
    torch.testing.assert_close(MoCoLoss(0.2)(Q[:1], K[:1], changed, ids[:1], queue_ids), loss, rtol=0, atol=0)
    assert MoCoLoss(0.2)(Q[1:2], K[1:2], changed, ids[1:2], queue_ids) != MoCoLoss(0.2)(
        Q[1:2], K[1:2], QUEUE, ids[1:2], queue_ids
    )


def test_a_key_that_entered_the_queue_too_early_would_cost_log_2() -> None:
    loss = MoCoLoss(0.2)(Q[:1], K[:1], K[:1])
    assert loss.item() == pytest.approx(math.log(2), rel=1e-12)


def test_without_negatives_there_is_nothing_to_learn() -> None:
    q, ids = Q.clone().requires_grad_(), torch.zeros(4, dtype=torch.int64)
    for evaluator in ("dense", "tiled"):
        loss = MoCoLoss().evaluated(evaluator)(q, K, QUEUE, ids, torch.zeros(9, dtype=torch.int64))
        (gradient,) = torch.autograd.grad(loss, q)
        assert loss == 0
        assert not gradient.any()


def test_queue_moves_before_backward_pass_noticed_or_does_not() -> None:
    def gradient(evaluator: Evaluator, moves: bool) -> torch.Tensor:
        q, queue = Q.clone().requires_grad_(), QUEUE.clone()
        loss = MoCoLoss().evaluated(evaluator)(q, K, queue)
        if moves:
            queue[:4] = K
        return torch.autograd.grad(loss, q)[0]

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradient("dense", moves=True)
    assert torch.equal(gradient("tiled", moves=True), gradient("tiled", moves=False))


def test_refuses_a_queue_that_does_not_fit() -> None:
    loss, forward = MoCoLoss(), unwrap(MoCoLoss.forward)
    for queue in (QUEUE[:, :3], QUEUE[0], QUEUE[:0]):
        with pytest.raises(ValueError, match=r"the queue must be \(K, 5\) with K >= 1"):
            forward(loss, Q, K, queue)
    with pytest.raises(ValueError, match="give both, or neither"):
        loss(Q, K, QUEUE, torch.arange(4))
    with pytest.raises(ValueError, match=r"queue_ids must be one integer per row, \(9,\), got \(3,\)"):
        forward(loss, Q, K, QUEUE, torch.arange(4), torch.arange(3))
