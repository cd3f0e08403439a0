"""MoCHi's loss: the synthetic negatives are what the paper says, constants, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import MoCHiLoss, MoCoLoss
from counterpoint.losses.mochi import draw
from fixtures.vectors import F64, unit

Q, K, QUEUE = unit(4, 5, seed=1), unit(4, 5, seed=2), unit(9, 5, seed=3)


def drawn(hardest: int, pairs: int = 3, with_query: int = 2, seed: int = 0) -> dict[str, Tensor]:
    return draw(Q, hardest, pairs, with_query, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_is_a_cross_entropy_over_key_queue_and_mixtures(evaluator: str) -> None:
    q, given = Q.clone().requires_grad_(), drawn(5)
    rows = torch.arange(4)[:, None]
    hard = QUEUE[(Q @ QUEUE.T).topk(5).indices]
    i, j = given["pairs"].unbind(-1)
    a, b = given["shares"][..., None], given["query_shares"][..., None]
    mixed = F.normalize(a * hard[rows, i] + (1 - a) * hard[rows, j], dim=-1)
    harder = F.normalize(b * Q[:, None] + (1 - b) * hard[rows, given["partners"]], dim=-1)
    synthetic = torch.cat([mixed, harder], 1)
    logits = torch.cat(
        [(q * K).sum(-1, keepdim=True), q @ QUEUE.T, torch.einsum("bd,bsd->bs", q, synthetic)], 1
    )
    plain = F.cross_entropy(logits / 0.2, torch.zeros(4, dtype=torch.int64))
    (expected,) = torch.autograd.grad(plain, q)
    loss = MoCHiLoss(0.2, hardest=5).evaluated(evaluator, tile=2)(q, K, QUEUE, **given)  # type: ignore[arg-type]
    (found,) = torch.autograd.grad(loss, q)
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


def test_a_key_mixed_with_itself_is_that_key_again() -> None:
    same = {"pairs": torch.zeros(1, 1, 2, dtype=torch.int64), "shares": torch.full((1, 1), 0.3, dtype=F64)}
    hardest = QUEUE[(Q[0] @ QUEUE.T).argmax()]
    twice = MoCoLoss(0.2)(Q[:1], K[:1], torch.cat([QUEUE, hardest[None]]))
    torch.testing.assert_close(MoCHiLoss(0.2)(Q[:1], K[:1], QUEUE, **same), twice, rtol=1e-12, atol=0)


@pytest.mark.parametrize("share", [0.01, 0.25, 0.49])
def test_mixing_with_the_query_makes_a_key_harder(share: float) -> None:
    for q, k, n in zip(
        unit(20, 5, seed=4)[:, None], unit(20, 5, seed=5)[:, None], unit(20, 5, seed=6)[:, None], strict=True
    ):
        given = {"partners": torch.tensor([[0]]), "query_shares": torch.tensor([[share]], dtype=F64)}
        assert MoCHiLoss(0.2)(q, k, n, **given) > MoCoLoss(0.2)(q, k, torch.cat([n, n]))


def test_a_larger_n_than_the_queue_takes_all_of_it() -> None:
    given = drawn(9)
    all_of_it, more = MoCHiLoss(0.2, hardest=9), MoCHiLoss(0.2, hardest=1000)
    torch.testing.assert_close(more(Q, K, QUEUE, **given), all_of_it(Q, K, QUEUE, **given), rtol=0, atol=0)


@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_keys_of_the_own_item_are_not_mixed(evaluator: str) -> None:
    ids = torch.zeros(1, dtype=torch.int64)
    queue_ids = torch.zeros(9, dtype=torch.int64)
    queue_ids[4] = 1
    given = {
        "pairs": torch.tensor([[[0, 1], [2, 0]]]),
        "shares": torch.full((1, 2), 0.4, dtype=F64),
        "partners": torch.tensor([[0, 1]]),
        "query_shares": torch.full((1, 2), 0.4, dtype=F64),
    }
    only = {"partners": torch.tensor([[0]]), "query_shares": torch.full((1, 1), 0.4, dtype=F64)}
    loss = MoCHiLoss(0.2, hardest=3).evaluated(evaluator, tile=2)  # type: ignore[arg-type]
    expected = MoCHiLoss(0.2)(Q[:1], K[:1], QUEUE[4:5], **only)
    torch.testing.assert_close(
        loss(Q[:1], K[:1], QUEUE, ids, queue_ids, **given), expected, rtol=1e-12, atol=0
    )


def test_opposite_keys_mix_to_nothing_and_not_to_nan() -> None:
    queue = torch.stack([QUEUE[0], -QUEUE[0]])
    given = {"pairs": torch.tensor([[[0, 1]]]), "shares": torch.full((1, 1), 0.5, dtype=F64)}
    q = Q[:1].clone().requires_grad_()
    loss = MoCHiLoss(0.2)(q, K[:1], queue, **given)
    (gradient,) = torch.autograd.grad(loss, q)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_what_is_drawn_lies_where_it_should() -> None:
    given = draw(torch.zeros(200, 3, dtype=F64), 6, 20, 30)
    i, j = given["pairs"].unbind(-1)
    assert set(given["pairs"].flatten().tolist()) == set(range(6))
    assert (i != j).all()
    assert set(given["partners"].flatten().tolist()) == set(range(6))
    assert given["query_shares"].min() >= 0
    assert 0.49 < given["query_shares"].max() < 0.5
    assert 0.98 < given["shares"].max() < 1
    assert given["shares"].dtype == F64
    one = draw(torch.zeros(3, 3), 1, 2, 2)
    assert not one["pairs"].any()


def test_draws_follow_from_the_generator() -> None:
    assert drawn(5, 0, 0) == {}
    one, again, other = drawn(5), drawn(5), drawn(5, seed=1)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["shares"], other["shares"])


def test_refuses_half_of_a_draw() -> None:
    given = drawn(5)
    with pytest.raises(ValueError, match="pairs go with shares"):
        MoCHiLoss()(Q, K, QUEUE, pairs=given["pairs"])
