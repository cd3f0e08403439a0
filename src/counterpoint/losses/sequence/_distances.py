"""Distances of two sequences of vectors: time by time, warped in time, and without any order.

Costs come with their last axis over pairs, which is the one that is worked on at once.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

UNDER_ROOT = 1e-8
"""Added to squared distances before their root, whose derivative at 0 is infinite."""


def lengths_of(name: str, x: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"] | None) -> Int[Tensor, " B"]:
    """Return how long each sequence is by its mask; without one, as long as there is room.

    Raises:
        ValueError: for a mask of another shape, or with a gap.
    """
    if mask is None:
        return torch.full((len(x),), x.shape[1], device=x.device)
    if mask.shape != x.shape[:2] or mask.dtype != torch.bool:
        raise ValueError(
            f"{name}_mask must be boolean {tuple(x.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}"
        )
    if (mask[:, 1:] & ~mask[:, :-1]).any():
        raise ValueError(f"{name}_mask has a gap: a sequence goes on from its beginning to its end")
    return mask.sum(1)


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
    """The recursion, a diagonal of cells at a time for all pairs, and its gradient by a second one backwards."""

    @staticmethod
    def forward(ctx: Any, costs: Tensor, rows: Tensor, columns: Tensor, gamma: float) -> Tensor:
        best = _best(costs, gamma)
        ctx.gamma = gamma
        ctx.save_for_backward(costs, best, rows, columns)
        return best[rows + columns, rows, torch.arange(costs.shape[2], device=costs.device)]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        costs, best, rows, columns = ctx.saved_tensors
        n, m, pairs = costs.shape
        last = (rows + columns, rows, torch.arange(pairs, device=costs.device))
        if torch.is_grad_enabled():  # the gradient will be differentiated again: by the recursion itself
            found = _best(costs, ctx.gamma)[last]
            return (*torch.autograd.grad(found, costs, grad, create_graph=True), None, None, None)
        # Of each cell, how much the result depends on it: as much as on those behind it, by their share in each.
        share = best.new_zeros(n + m + 3, n + 2, pairs)
        share[last] = grad
        along = F.pad(_along(costs), (0, 0, 0, 0, 0, 2))
        gain = (F.pad(best, (0, 0, 0, 0, 0, 2), value=-_FAR) - along) / ctx.gamma
        for k in range(n + m, 1, -1):
            cells = _cells(n, m, k)
            own, after = best[k, cells] / ctx.gamma, slice(cells.start + 1, cells.stop + 1)
            for ahead, there in ((2, after), (1, after), (1, cells)):
                # A cell that is not there has no share, and its weight is 0 or anything finite.
                weight = (gain[k + ahead, there] - own).clamp_max_(0).exp_()
                share[k, cells] += weight.mul_(share[k + ahead, there])
        i, j = (torch.arange(1, size + 1, device=costs.device) for size in (n, m))
        return share[i[:, None] + j, i[:, None]], None, None, None


_FAR = 1e10
"""A cost that no warping has."""


def _cells(n: int, m: int, k: int) -> slice:
    """Return the rows (from 1) of the cells of a diagonal: those whose row and column have the sum k."""
    return slice(max(1, k - m), min(n, k - 1) + 1)


def _along(costs: Float[Tensor, "N M P"]) -> Float[Tensor, "K N+2 P"]:
    """Return costs by diagonal and row, so that a diagonal is a slice; 0 where there is no cell."""
    n, m, pairs = costs.shape
    along = costs.new_zeros(n + m + 1, n + 2, pairs)
    i, j = (torch.arange(1, size + 1, device=costs.device) for size in (n, m))
    return along.index_put((i[:, None] + j, i[:, None].expand(n, m)), costs)


def _best(costs: Float[Tensor, "N M P"], gamma: float) -> Float[Tensor, "K N+2 P"]:
    """Return the soft minimum up to each cell, by diagonal and row; far away where there is no cell."""
    n, m, pairs = costs.shape
    along, far = _along(costs), costs.new_full((n + 2, pairs), _FAR)
    begin = far.clone()
    begin[0] = 0
    best = [begin, far]
    for k in range(2, n + m + 1):
        cells = _cells(n, m, k)
        before = slice(cells.start - 1, cells.stop - 1)
        ways = (best[k - 2][before], best[k - 1][before], best[k - 1][cells])
        least = torch.minimum(torch.minimum(*ways[:2]), ways[2]).detach()
        total = sum(((least - way) / gamma).exp() for way in ways)
        assert isinstance(total, Tensor)
        found = along[k, cells] + least - gamma * total.log()
        best.append(F.pad(found, (0, 0, cells.start, n + 2 - cells.stop), value=_FAR))
    return torch.stack(best)


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
