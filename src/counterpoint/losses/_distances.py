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
    time = torch.arange(steps, device=x.device) * last / max(steps - 1, 1)
    before = time.floor().long()
    share = (time - before).to(x.dtype)[..., None]

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
    return _SoftDTW.apply(costs, rows, columns, gamma)  # type: ignore[no-untyped-call] # torch's


class _SoftDTW(torch.autograd.Function):
    """The recursion, a diagonal of cells at a time for all pairs, and its gradient by a second one backwards.

    Cells of a pair are those of its N × M costs within a border, row after row on one axis: (N + 2)(M + 2) in all.
    """

    @staticmethod
    def forward(ctx: Any, costs: Tensor, rows: Tensor, columns: Tensor, gamma: float) -> Tensor:
        best = _best(costs, gamma)
        ctx.gamma = gamma
        ctx.save_for_backward(costs, best, rows, columns)
        return best[_ends(costs, rows, columns)]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        costs, best, rows, columns = ctx.saved_tensors
        n, m, pairs = costs.shape
        last = _ends(costs, rows, columns)
        if torch.is_grad_enabled():  # the gradient will be differentiated again: by the recursion itself
            minimum = _best(costs, ctx.gamma)[last]
            return (*torch.autograd.grad(minimum, costs, grad, create_graph=True), None, None, None)
        # Of each cell, how much the result depends on it: as much as on those behind it, by their share in each.
        share = torch.zeros_like(best)
        share[last] = grad
        gain = (best - _bordered(costs)) / ctx.gamma
        for k in range(n + m, 1, -1):
            cells = _cells(n, m, k)
            scaled = best[cells] / ctx.gamma
            for ahead in (m + 3, m + 2, 1):  # the next row and column, the next row, the next column
                there = slice(cells.start + ahead, cells.stop + ahead, cells.step)
                # In the border there is no share, and the weight is anything finite.
                weight = (gain[there] - scaled).clamp_max_(0).exp_()
                share[cells] += weight.mul_(share[there])
        return share.view(n + 2, m + 2, pairs)[1:-1, 1:-1], None, None, None


_FAR = 1e10
"""A cost that no warping has."""


def _bordered(costs: Float[Tensor, "N M P"]) -> Float[Tensor, "cells P"]:
    """Return the costs of cells; 0 in the border."""
    return F.pad(costs, (0, 0, 1, 1, 1, 1)).flatten(0, 1)


def _ends(
    costs: Float[Tensor, "N M P"], rows: Int[Tensor, " P"], columns: Int[Tensor, " P"]
) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
    """Return the cell in which each pair ends, with its pair."""
    _, m, pairs = costs.shape
    return rows * (m + 2) + columns, torch.arange(pairs, device=costs.device)


def _rows(n: int, m: int, k: int) -> range:
    """Return the rows (from 1) of a diagonal within the border: those whose row and column have the sum k."""
    return range(max(1, k - m), min(n, k - 1) + 1)


def _cells(n: int, m: int, k: int) -> slice:
    """Return the cells of a diagonal within the border: from one to the next it is a row down and a column back."""
    rows = _rows(n, m, k)
    return slice(k + rows.start * (m + 1), k + rows.stop * (m + 1), m + 1)


def _best(costs: Float[Tensor, "N M P"], gamma: float) -> Float[Tensor, "cells P"]:
    """Return the soft minimum up to each cell; far away in the border."""
    n, m, pairs = costs.shape
    steps = _bordered(costs)
    # Diagonals apart, each with its two cells of the border, as autograd takes no tensor that is written to.
    far = costs.new_full((2, pairs), _FAR)
    best = [torch.zeros_like(far[:1]), far]
    for k in range(2, n + m + 1):
        rows = _rows(n, m, k)
        # Rows of a diagonal, with the border, begin at max(0, k − m − 1).
        both, one = rows.start - 1 - max(0, k - m - 3), rows.start - 1 - max(0, k - m - 2)
        size = len(rows)
        ways = (
            best[k - 2][both : both + size],
            best[k - 1][one : one + size],
            best[k - 1][one + 1 : one + 1 + size],
        )
        least = torch.minimum(torch.minimum(*ways[:2]), ways[2]).detach()
        total = sum(((least - way) / gamma).exp() for way in ways)
        assert isinstance(total, Tensor)
        minimum = steps[_cells(n, m, k)] + least - gamma * total.log()
        best.append(F.pad(minimum, (0, 0, 1, 1), value=_FAR))
    diagonals = torch.cat([*best, far, far[:1]])
    row, column = (torch.arange(size + 2, device=costs.device) for size in (n, m))
    by_diagonal = ((row[:, None] + column) * (n + 2) + row[:, None]).flatten().argsort()
    return torch.empty_like(diagonals).index_copy(0, by_diagonal, diagonals)


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
