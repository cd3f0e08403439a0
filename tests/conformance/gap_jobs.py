"""Methods that use incomplete rows, on this rank's part of a batch with gaps."""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter
from typing import Any

import torch
from method_stubs import LATE, batch, build
from torch import Tensor

from counterpoint.pairwise.ranks import Ranks
from counterpoint.training.sharing.distributed import average_gradients
from counterpoint.training.step import caching
from counterpoint.types import Batch

CUTS = {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 8, 11]}


def gapped(method: Any) -> Batch:
    """Eleven rows, of which the first five lack their text, so that one of two ranks has no complete row."""
    there = {"text": torch.arange(11) > 4, "image": torch.arange(11) != 7}
    return replace(batch(method, 11, dtype=torch.float64), present=there)


def job_gaps(rank: int, size: int, name: str, options: dict[str, Any]) -> dict[str, Tensor]:
    """The rank-averaged gradients of a method, and what it keeps behind the step."""
    method = build(name, **options).double().train()
    whole = gapped(method)
    own = slice(CUTS[size][rank], CUTS[size][rank + 1])
    part = whole.map(itemgetter(own))
    _, z = caching.backward(method, part, LATE, 3)
    average_gradients(method, Ranks.present())
    method.after_step({name: value.detach() for name, value in z.items()}, part, LATE)
    found = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
    return found | {f"kept {name}": kept for name, kept in method.named_buffers()}
