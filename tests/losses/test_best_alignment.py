"""The monotone alignment: closed forms, every path by brute force, limits, what cannot be aligned."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from torch import Tensor

from counterpoint.losses import BestAlignmentLoss
from counterpoint.losses.best_alignment import best_path, uniform_path
from fixtures.vectors import F64


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def every_path(frames: int, tokens: int) -> Tensor:
    begins = [torch.tensor(b, dtype=torch.long) for b in combinations(range(1, frames), tokens - 1)]
    return torch.stack([(torch.arange(frames)[:, None] >= b).sum(1) for b in begins])


def test_the_best_path_is_the_best_of_all() -> None:
    for seed in range(20):
        frames, tokens = 3 + seed % 6, 1 + seed % 4
        if frames < tokens:
            continue
        costs = random(1, frames, tokens, seed=seed).detach() ** 2
        ways = every_path(frames, tokens)
        totals = costs[0].gather(1, ways.T).sum(0)
        found = best_path(costs, torch.tensor([frames]), torch.tensor([tokens]))[0]
        assert torch.equal(found, ways[totals.argmin()])
        assert found[0] == 0
        assert found[-1] == tokens - 1
        assert set(found.diff().tolist()) <= {0, 1}


def test_equal_sequences_cost_nothing_and_one_token_is_the_mean() -> None:
    x = random(2, 4, 3)
    assert BestAlignmentLoss()(x, x).item() == 0
    repeated = x.repeat_interleave(3, dim=1)
    torch.testing.assert_close(BestAlignmentLoss()(repeated, x), torch.zeros((), dtype=F64))
    one = random(2, 1, 3, seed=1)
    torch.testing.assert_close(BestAlignmentLoss()(x, one), (x - one).square().mean())


def test_a_soft_minimum_becomes_the_hard_one() -> None:
    x, y = random(3, 7, 4), random(3, 4, 4, seed=1)
    hard = BestAlignmentLoss()(x, y)
    wanted = torch.autograd.grad(hard, (x, y))
    gaps = []
    for gamma in (1.0, 0.1, 1e-3):
        soft = BestAlignmentLoss(gamma=gamma)(x, y)
        assert soft <= hard + 1e-12
        gaps.append((hard - soft).item())
    assert gaps[0] > gaps[1] > gaps[2]
    torch.testing.assert_close(soft, hard, rtol=1e-6, atol=1e-9)
    for one, other in zip(torch.autograd.grad(soft, (x, y)), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_the_gradient_of_the_soft_minimum_is_a_share_of_paths() -> None:
    """With costs all alike every path is as likely: the share of those that say a token at a time."""
    x, y = torch.zeros(1, 5, 2, dtype=F64), torch.zeros(1, 3, 2, dtype=F64)
    loss = BestAlignmentLoss(gamma=0.5)
    ways = every_path(5, 3)
    value = loss.costs(x, y, torch.tensor([5]), torch.tensor([3]))
    torch.testing.assert_close(value, torch.tensor([-0.5 * math.log(len(ways))], dtype=F64))
    # A frame's position and a token's number: the derivative of ½ (t − n)² in t is t − n.
    x[..., 0], y[..., 0] = torch.arange(5), torch.arange(3)
    x.requires_grad_()
    loss.costs(x, y, torch.tensor([5]), torch.tensor([3])).sum().backward()
    costs = (torch.arange(5)[:, None] - torch.arange(3)).double().square() / 2
    weights = (-costs.gather(1, ways.T).sum(0) / 0.5).softmax(0)
    said = (ways.double() * weights[:, None]).sum(0)
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0, :, 0], torch.arange(5) - said)


@pytest.mark.parametrize("gamma", [0.0, 0.2])
def test_padding_and_rows_that_do_not_count_change_nothing(gamma: float) -> None:
    loss = BestAlignmentLoss(gamma=gamma)
    x, y = random(3, 6, 4), random(3, 3, 4, seed=1)
    plain = loss(x[:2, :5], y[:2, :2])
    masks = {"x_mask": (torch.arange(6) < 5).expand(3, -1), "y_mask": (torch.arange(3) < 2).expand(3, -1)}
    poisoned = x.detach().clone()
    poisoned[:2, 5:], poisoned[2] = 1e6, torch.nan
    poisoned.requires_grad_()
    rows = torch.tensor([True, True, False])
    whole = loss(poisoned, y, **masks, rows=rows)
    torch.testing.assert_close(whole, plain, rtol=1e-9, atol=0)
    whole.backward()
    assert poisoned.grad is not None
    assert (poisoned.grad[:2, 5:] == 0).all()
    assert (poisoned.grad[2] == 0).all()
    assert (poisoned.grad[:2, :5] != 0).any()
    nothing = loss(poisoned, y, **masks, rows=rows & False)
    assert nothing.item() == 0
    nothing.backward()


def test_fewer_frames_than_tokens_cannot_be_aligned() -> None:
    x, y = random(2, 3, 4), random(2, 4, 4, seed=1)
    with pytest.raises(ValueError, match="example 0 has 3 frames for 4 tokens, of which each needs one"):
        BestAlignmentLoss()(x, y)
    mask = torch.tensor([[True] * 3 + [False], [True] * 4])
    with pytest.raises(ValueError, match="example 1 has 3 frames for 4 tokens"):
        BestAlignmentLoss()(x, y, y_mask=mask)
    assert BestAlignmentLoss()(x, y, y_mask=mask, rows=torch.tensor([True, False])) > 0
    with pytest.raises(ValueError, match="y_mask has a gap"):
        BestAlignmentLoss()(x, y, y_mask=torch.tensor([[True, False, True, False]] * 2))
    with pytest.raises(ValueError, match="example 1 has 3 frames for 0 tokens"):
        BestAlignmentLoss()(x, y, y_mask=torch.tensor([[True] * 2 + [False] * 2, [False] * 4]))
    with pytest.raises(ValueError, match=r"gamma=0\.5 softens the best path"):
        BestAlignmentLoss(gamma=0.5, path="uniform")


def test_half_precision_is_aligned_in_float32() -> None:
    x, y = random(2, 40, 8, dtype=torch.float32), random(2, 20, 8, seed=1, dtype=torch.float32)
    for gamma in (0.0, 1e-3):
        loss = BestAlignmentLoss(gamma=gamma)(300 * x.half(), 300 * y.half())
        assert loss.dtype == torch.float32
        assert loss.isfinite()  # although squares of these leave half precision


def test_detached_side_gets_no_gradient_and_uniform_path_is_even() -> None:
    x, y = random(2, 6, 4), random(2, 3, 4, seed=1)
    BestAlignmentLoss(detach=True)(x, y).backward()
    assert y.grad is None
    assert x.grad is not None
    assert uniform_path(torch.tensor([6, 5]), torch.tensor([3, 2]), 6).tolist() == [
        [0, 0, 1, 1, 2, 2],
        [0, 0, 1, 1, 1, 1],
    ]
    assert BestAlignmentLoss(path="uniform")(x, y) >= BestAlignmentLoss()(x, y)
