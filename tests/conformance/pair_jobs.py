"""A second round on the ranks of a pool, of which all but the first have one row and so no pair."""

from __future__ import annotations

from operator import itemgetter
from typing import Any
from unittest.mock import patch

import torch
from method_stubs import LATE, build, loaded
from torch import Tensor

from counterpoint.methods._matching import LABEL, PICTURE_OF, TEXT_OF
from counterpoint.pairwise.ranks import Ranks
from counterpoint.testing._method import grads_of
from counterpoint.training.sharing.distributed import average_gradients
from counterpoint.training.step import caching
from counterpoint.types import Batch, Embeddings, Pairs

PAIRED = 4
"""Rows of the first rank."""


def first_rows(z: Embeddings, batch: Batch) -> Pairs:
    """The pairs of the first rows, each with its own and with the next text; none of one row."""
    rows = torch.arange(PAIRED if len(batch) > 1 else 0)
    other = (rows + 1) % PAIRED
    label = torch.ones_like(rows)
    return {
        PICTURE_OF: rows.repeat(2),
        TEXT_OF: torch.cat([rows, other]),
        LABEL: torch.cat([label, 0 * label]),
    }


def job_matched(rank: int, size: int, rows: int, microbatch: int) -> dict[str, Tensor]:
    """The rank-averaged gradients of albef on this rank's part of some examples."""
    method: Any = build("albef", queue=7).double().train()
    whole = loaded(method, size=rows, dtype=torch.float64)
    start = PAIRED + rank - 1 if rank else 0
    part = whole.map(itemgetter(slice(start, rows if size == 1 else PAIRED + rank)))
    with patch.object(method, "pairs", first_rows):
        caching.backward(method, part, LATE, microbatch)
    average_gradients(method, Ranks.present())
    return grads_of(method)
