"""Pairs of each rank's own rows: the gradient is that of one process that is given the same pairs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pair_jobs import PAIRED, job_matched
from rank_pool import RankPool

from fixtures.slow import on_ranks


@pytest.mark.parametrize("microbatch", [2, 100])
@on_ranks
def test_a_rank_without_a_pair_changes_no_gradient(
    size: int, microbatch: int, rank_pool: Callable[[int], RankPool]
) -> None:
    rows = PAIRED + size - 1
    expected = job_matched(0, 1, rows, 100)
    for measured in rank_pool(size).run(job_matched, rows, microbatch):
        assert measured.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(measured[name], value, rtol=1e-9, atol=1e-12)
