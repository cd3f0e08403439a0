"""Gradient caching on the ranks of a pool: each encodes its own rows, in microbatches."""

from __future__ import annotations

from operator import itemgetter

import torch
from method_stubs import LATE, build, loaded, prepared
from torch import Tensor

from counterpoint.pairwise.ranks import Ranks
from counterpoint.training.sharing.distributed import average_gradients
from counterpoint.training.step import caching


def job_cached(rank: int, size: int, name: str, microbatch: int) -> dict[str, Tensor]:
    """The rank-averaged gradients of a method on this rank's part of 11 examples."""
    method = build(name).double().train()
    whole = loaded(method, size=11, dtype=torch.float64)
    cuts = {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 8, 11]}[size]
    own = slice(cuts[rank], cuts[rank + 1])
    part = prepared(method, whole.map(itemgetter(own)))
    caching.backward(method, part, LATE, microbatch)
    average_gradients(method, Ranks.present())
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
