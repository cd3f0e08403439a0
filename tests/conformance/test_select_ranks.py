"""Joint example selection on several ranks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from rank_pool import RankPool
from select_jobs import job_chosen, judges

from counterpoint.pairwise.joint_selection import select
from fixtures.slow import slow


@pytest.mark.parametrize("size", [2, *slow(1, 3)])
def test_every_rank_chooses_the_same(size: int, rank_pool: Callable[[int], RankPool]) -> None:
    torch.manual_seed(0)
    expected = select(judges(), 10, chunks=4)
    for found in rank_pool(size).run(job_chosen):
        assert torch.equal(found, expected)
