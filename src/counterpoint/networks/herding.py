"""Herding: rows that stand for the mean of many."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

PAPERS = {"coconut-slu": ("herded",)}


def herded(z: Float[Tensor, "n d"], count: int) -> Int[Tensor, " m"]:
    """Return the numbers of the rows whose running mean follows the mean of all, at most ``count`` of them.

    Each row is the one that brings the mean of those chosen nearest to the mean of all.

    Source: Rebuffi et al., "iCaRL: Incremental Classifier and Representation Learning" (2017), arXiv 1611.07725.

    >>> herded(torch.tensor([[0.0], [1.0], [2.0], [6.0]]), 2).tolist()    # the mean is 2.25
    [2, 1]
    """
    mean, total = z.mean(0), torch.zeros_like(z[0])
    free = torch.ones(len(z), dtype=torch.bool)
    chosen: list[int] = []
    for number in range(1, min(count, len(z)) + 1):
        distance = (mean - (total + z) / number).norm(dim=1).masked_fill(~free, torch.inf)
        row = int(distance.argmin())
        chosen.append(row)
        free[row] = False
        total = total + z[row]
    return torch.tensor(chosen, dtype=torch.int64)
