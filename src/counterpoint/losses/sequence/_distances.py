"""Distances of two sequences of vectors: time by time, warped in time, and without any order.

Costs come with their last axis over pairs, which is the one that is worked on at once.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

UNDER_ROOT = 1e-8
"""Added to squared distances before their root, whose derivative at 0 is infinite."""


def resampled(
    x: Float[Tensor, "B T d"], lengths: Int[Tensor, " B"], steps: int
) -> Float[Tensor, "B steps d"]:
    """Return sequences at one number of steps: linearly between their times, the first and the last of which stay.

    >>> resampled(torch.tensor([[[0.0], [2.0], [9.0]]]), torch.tensor([2]), 3).flatten()
    tensor([0., 1., 2.])
    """
    last = (lengths - 1)[:, None]
    # Whole numbers, divided: a sequence of so many steps keeps its own vectors to the last digit.
    place = torch.arange(steps, device=x.device) * last / max(steps - 1, 1)
    before = place.floor().long()
    share = (place - before).to(x.dtype)[..., None]

    def at(times: Tensor) -> Tensor:
        return x.gather(1, times[..., None].expand(-1, -1, x.shape[2]))

    return at(before) * (1 - share) + at(torch.minimum(before + 1, last)) * share


def root(squared: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return distances of squared ones, which rounding may have made negative."""
    return (squared.clamp_min(0) + UNDER_ROOT).sqrt()


def soft_dtw(
    costs: Float[Tensor, "N M P"], rows: Int[Tensor, " P"], columns: Int[Tensor, " P"], gamma: float
) -> Float[Tensor, " P"]:
    """Return the soft minimum over all warpings of the sum of costs along them.

        R_ij = c_ij + softmin(R_{i-1,j-1}, R_{i-1,j}, R_{i,j-1}),   softmin(a, b, …) = −γ log Σ exp(−a/γ)

    Args:
        costs: of each time of a first sequence with each time of a second one, by pair; finite everywhere.
        rows, columns: how many of the times are theirs.
        gamma: γ > 0; towards 0 it is dynamic time warping.

    Source: Cuturi and Blondel, "Soft-DTW" (2017), arXiv 1703.01541, and its gradient.
    """
    found: Tensor = _SoftDTW.apply(costs, rows, columns, gamma)  # type: ignore[no-untyped-call] # torch's
    return found


class _SoftDTW(torch.autograd.Function):
    """The recursion, a diagonal at a time for all pairs, and its gradient by a second one backwards."""

    @staticmethod
    def forward(ctx: Any, costs: Tensor, rows: Tensor, columns: Tensor, gamma: float) -> Tensor:
        best = _best(costs, gamma)
        ctx.gamma = gamma
        ctx.save_for_backward(costs, best, rows, columns)
        return best[rows, columns, torch.arange(costs.shape[2], device=costs.device)]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        costs, best, rows, columns = ctx.saved_tensors
        n, m, pairs = costs.shape
        if torch.is_grad_enabled():  # the gradient will be differentiated again: by the recursion itself
            last = _best(costs, ctx.gamma)[rows, columns, torch.arange(pairs, device=costs.device)]
            return (*torch.autograd.grad(last, costs, grad, create_graph=True), None, None, None)
        # Of each cell, how much the result depends on it; what lies behind the last cell depends on nothing.
        share = costs.new_zeros(n + 2, m + 2, pairs)
        share[rows, columns, torch.arange(pairs, device=costs.device)] = grad
        for i, j in reversed(_diagonals(n, m, costs.device)):
            total = share[i, j]
            for down, right in ((1, 1), (1, 0), (0, 1)):
                a, b = (i + down).clamp_max(n), (j + right).clamp_max(m)
                weight = ((best[a, b] - costs[a - 1, b - 1] - best[i, j]) / ctx.gamma).exp()
                inside = ((i + down <= n) & (j + right <= m))[:, None]
                total = total + torch.where(inside, share[i + down, j + right] * weight, 0)
            share[i, j] = total
        return share[1:-1, 1:-1], None, None, None


def _best(costs: Float[Tensor, "N M P"], gamma: float) -> Float[Tensor, "N+1 M+1 P"]:
    """Return the soft minimum up to each cell, cells from 1."""
    n, m, pairs = costs.shape
    best = costs.new_full((n + 1, m + 1, pairs), torch.inf)
    best[0, 0] = 0
    for i, j in _diagonals(n, m, costs.device):
        ways = torch.stack([best[i - 1, j - 1], best[i - 1, j], best[i, j - 1]])
        best[i, j] = costs[i - 1, j - 1] - gamma * torch.logsumexp(ways / -gamma, 0)
    return best


def _diagonals(n: int, m: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Return the places (from 1) of the cells of each diagonal, none of which depends on another one of its own."""
    found = []
    for both in range(2, n + m + 1):
        i = torch.arange(max(1, both - m), min(n, both - 1) + 1, device=device)
        found.append((i, both - i))
    return found


def sinkhorn(
    costs: Float[Tensor, "N M P"],
    rows: Int[Tensor, " P"],
    columns: Int[Tensor, " P"],
    entropy: float,
    iterations: int,
) -> Float[Tensor, " P"]:
    """Return the cost of the entropic optimal transport between the times of two sequences, which all weigh alike.

    Args:
        costs: as of `soft_dtw`.
        rows, columns: how many of the times are theirs.
        entropy: ε, by which costs are divided.
        iterations: of Sinkhorn, in the logarithm.

    Source: Cuturi, "Sinkhorn Distances" (2013), arXiv 1306.0895.
    """
    n, m, _ = costs.shape
    of_rows, of_columns = _uniform(rows, n, costs)[:, None], _uniform(columns, m, costs)[None]
    kernel = costs / -entropy
    right = torch.zeros_like(of_columns)
    for _ in range(iterations):
        left = -torch.logsumexp(kernel + right + of_columns, 1, keepdim=True)
        right = -torch.logsumexp(kernel + left + of_rows, 0, keepdim=True)
    plan = (kernel + left + right + of_rows + of_columns).exp()
    return (plan * costs).sum((0, 1))


def _uniform(lengths: Int[Tensor, " P"], most: int, like: Tensor) -> Float[Tensor, "most P"]:
    """Return the logarithm of the weight of each time; −∞ behind the end of a sequence."""
    there = torch.arange(most, device=like.device)[:, None] < lengths
    return (-lengths.to(like.dtype).log()).expand(most, -1).masked_fill(~there, -torch.inf)
