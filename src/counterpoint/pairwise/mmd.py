"""Maximum mean discrepancy: how far the distributions are from each other that two samples came from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .ranks import Ranks
from .reduce import reduce
from .reductions import Sum
from .tile import Tile

PAPERS = {"collossl": ("mmd",)}

VARIANCES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 100.0)
"""The variances of ColloSSL's kernels."""


@torch.no_grad()
def mmd(
    x: Float[Tensor, "B d"], y: Float[Tensor, "M d"], variances: Sequence[float] = VARIANCES
) -> Float[Tensor, ""]:
    """Return the square of the maximum mean discrepancy of two samples over all ranks, without gradient.

        mean k(x, x') + mean k(y, y') − 2 mean k(x, y),   k(u, v) = Σ_s exp(−‖u − v‖² / (2 s))

    The estimate is the biased one: each vector also meets itself.

    Source: Gretton et al., "A kernel two-sample test" (2012), JMLR 13.

    >>> x = torch.tensor([[0.0], [1.0]])
    >>> round(mmd(x, x).item(), 6), round(mmd(x, x + 50, variances=[1.0]).item(), 4)
    (0.0, 1.6065)
    """

    def terms(tile: Tile) -> dict[str, dict[str, Sum]]:
        # Rounding may leave a square below 0.
        squares = tile.squared_distance().clamp_min(0)
        return {"total": {"kernel": Sum(sum_of(squares))}}

    def sum_of(squares: Tensor) -> Tensor:
        total = torch.zeros_like(squares)
        for variance in variances:
            total += (squares / (-2 * variance)).exp_()
        return total

    ranks = Ranks.present()
    # Kernels of small variances tell vectors apart that are nearly the same.
    x, y = x.double(), y.double()
    n, m = (sum(ranks.counts(len(z), z.device)) for z in (x, y))
    pairs = ((x, x, n * n, 1.0), (y, y, m * m, 1.0), (x, y, n * m, -2.0))
    means = [
        factor * reduce(terms, rows={"z": a}, columns={"z": b}).total.kernel / count
        for a, b, count, factor in pairs
    ]
    return torch.stack(means).sum().clamp_min(0)
