"""Hydra's targets are drawn for the whole batch, however many ranks share it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hydra_jobs import job_targets
from rank_pool import RankPool

from fixtures.slow import on_ranks


@pytest.mark.parametrize("targets", ["arbitrary", "distinct"])
@on_ranks
def test_targets_are_those_of_one_process(
    targets: str, size: int, rank_pool: Callable[[int], RankPool]
) -> None:
    parts = rank_pool(size).run(job_targets, targets)
    assert [target for part in parts for target in part] == job_targets(0, 1, targets)
