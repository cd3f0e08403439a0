"""A choice on this rank's part of a batch."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F

from counterpoint.pairwise.joint_selection import Judge, select


def judges(rows: int = 41) -> list[Judge]:
    """A learner and a reference of some pairs, each with its own scale and bias."""
    g = torch.Generator().manual_seed(7)
    z = [F.normalize(torch.randn(rows, 6, dtype=torch.float64, generator=g), dim=1) for _ in range(4)]
    bias = torch.tensor([-2.0, -3.5], dtype=torch.float64)
    return [Judge(4 * z[0], z[1], bias[0]), Judge(7 * z[2], z[3], bias[1], -1.0)]


def job_chosen(rank: int, size: int) -> torch.Tensor:
    cuts = {1: [0, 41], 2: [0, 17, 41], 3: [0, 9, 9, 41]}[size]
    rows = slice(cuts[rank], cuts[rank + 1])
    torch.manual_seed(0)
    return select([replace(j, x=j.x[rows], y=j.y[rows]) for j in judges()], 10, chunks=4)
