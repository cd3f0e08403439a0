"""Jobs of the ranks of a pool with a queue."""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.networks import KeyQueue
from counterpoint.networks.init import initialise

CUTS = {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 8, 11]}


def job_enqueue(rank: int, size: int, capacity: int) -> dict[str, Tensor]:
    """Three batches of 11 keys, of which each rank holds an uneven part."""
    queue, generator = KeyQueue(capacity, 3), torch.Generator().manual_seed(0)
    initialise(queue, 0)
    own = slice(*CUTS[size][rank : rank + 2])
    for step in range(3):
        keys = torch.nn.functional.normalize(torch.randn(11, 3, generator=generator), dim=1)
        queue.enqueue(keys[own], torch.arange(11)[own] + 100 * step)
    return dict(queue.state_dict())
