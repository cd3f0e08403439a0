"""A step of methods of sensors on the ranks of a pool: each prepares its own rows."""

from __future__ import annotations

from typing import Any

import torch
from method_stubs import build, loaded
from torch import Tensor

from counterpoint.pairwise.mmd import mmd
from counterpoint.pairwise.ranks import Ranks
from counterpoint.training.sharing.distributed import average_gradients
from counterpoint.types import StepInfo

CUTS = {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 8, 11]}


def job_step(
    rank: int, size: int, name: str, stage: str, options: dict[str, Any]
) -> tuple[float, dict[str, Tensor]]:
    """The loss of a step on this rank's part of 11 examples, and the gradients averaged over ranks."""
    method = build(name, **options).double().train().requires_grad_()
    clock = StepInfo(0, 1, stage=stage)
    part = list(loaded(method, 11, dtype=torch.float64).split(1))[CUTS[size][rank] : CUTS[size][rank + 1]]
    given = type(part[0])(
        torch.cat([one.ids for one in part]),
        {view: torch.cat([one[view] for one in part]) for view in method.views},
    )
    torch.manual_seed(0)
    with torch.no_grad():
        given = method.prepare(given, clock)
    method.eval()  # dropout is no business of this
    total = torch.stack([*method.losses(method.encode(given), given, clock).values()]).sum()
    total.backward()
    average_gradients(method, Ranks.present())
    return total.item(), {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def job_mmd(rank: int, size: int) -> float:
    """The discrepancy of two samples of 11 vectors, of which each rank has a part."""
    x, y = torch.randn(2, 11, 3, generator=torch.Generator().manual_seed(0))
    own = slice(*CUTS[size][rank : rank + 2])
    return float(mmd(x[own], 2 * y[own] + 1))
