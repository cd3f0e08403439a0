"""Jobs that do not end as they should."""

from __future__ import annotations

import torch
import torch.distributed as dist


def job_alone(rank: int, size: int) -> None:
    """The first rank waits for what the second does not send, because it fails."""
    if rank == 1:
        raise ValueError("rank 1 is out of step")
    dist.all_reduce(torch.ones(1))


def job_stuck(rank: int, size: int) -> None:
    """The first rank waits for what the second does not send."""
    if rank == 0:
        dist.all_reduce(torch.ones(1))
