"""A queue is the same on every rank, and the same as one process would have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from queue_jobs import job_enqueue
from rank_pool import RankPool

from fixtures.slow import on_ranks


@pytest.mark.parametrize("capacity", [7, 16, 40])
@on_ranks
def test_keys_of_all_ranks_come_in_their_order(
    size: int, capacity: int, rank_pool: Callable[[int], RankPool]
) -> None:
    alone = job_enqueue(0, 1, capacity)
    for state in rank_pool(size).run(job_enqueue, capacity):
        assert state.keys() == alone.keys()
        for name, value in alone.items():
            assert torch.equal(state[name], value), name
