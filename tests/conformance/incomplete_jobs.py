"""Methods that use rows with gaps, in this process or on the ranks of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import torch
from method_stubs import LATE, build, loaded, prepared
from torch import Tensor

from counterpoint.methods.tower_method import TowerMethod
from counterpoint.pairwise.ranks import Ranks
from counterpoint.training.loop import forward
from counterpoint.training.sharing.distributed import average_gradients
from counterpoint.training.step import caching
from counterpoint.types import Batch

ROWS, WHOLE = 11, 4
"""Examples of a batch, and the first one that has all columns: those before it lack the last."""


def with_gaps(method: TowerMethod) -> Batch:
    """Return a batch as a loader has it whose first rows lack the method's last column."""
    whole = loaded(method, size=ROWS, dtype=torch.float64)
    return Batch(
        whole.ids,
        whole.views,
        whole.labels,
        {list(method.columns)[-1]: torch.arange(ROWS) >= WHOLE},
    )


def job_with_gaps(
    rank: int, size: int, name: str, cuts: Sequence[int], microbatch: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the losses of this rank's rows, and the rank-averaged gradients."""
    method = build(name).double().train()
    whole = with_gaps(method)
    own = slice(cuts[rank], cuts[rank + 1])
    part = prepared(method, whole.map(itemgetter(own)))
    if microbatch:
        losses, _ = caching.backward(method, part, LATE, microbatch)
    else:
        losses, _ = forward(method, part, LATE)
        torch.stack(list(losses.values())).sum().backward()
    average_gradients(method, Ranks.present())
    gradients = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
    return {name: loss.detach() for name, loss in losses.items()}, gradients
