"""Herding: rows that stand for the mean of many."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PAPERS = {"coconut-slu": ("herded", "remembered")}


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


def remembered(
    classes: Int[Tensor, " N"], among: Bool[Tensor, " N"], each: int, z: Float[Tensor, "N d"] | None = None
) -> Int[Tensor, " m"]:
    """Return the numbers of rows that stand for their classes, at most ``each`` of a class.

    Args:
        classes: of all rows.
        among: the rows to choose from; those of a class are all among them, or none is.
        each: rows of a class.
        z: features, by which rows are herded; drawn from torch's generator without them.
    """
    chosen = [classes.new_empty(0)]
    for of_class in torch.unique(classes[among]):
        rows = (classes == of_class).nonzero()[:, 0]
        order = torch.randperm(len(rows))[:each] if z is None else herded(z[rows].float(), each)
        chosen.append(rows[order])
    return torch.cat(chosen)
