"""A rank that hangs or fails is a failed test, and not one that never ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import rank_pool as module
from queue_jobs import job_enqueue
from rank_pool import RankPool
from rank_pool_jobs import job_alone, job_stuck


@pytest.mark.slow
def test_what_hangs_fails_and_what_fails_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = RankPool(2, tmp_path)
    try:
        assert len(pool.run(job_enqueue, 7)) == 2
        monkeypatch.setattr(module, "_GRACE", 1)
        with pytest.raises(AssertionError, match="rank 1 is out of step"):
            pool.run(job_alone)
        assert pool.broken
    finally:
        pool.close()
    (tmp_path / "again").mkdir()
    pool = RankPool(2, tmp_path / "again")
    try:
        pool.run(job_enqueue, 7)
        monkeypatch.setattr(module, "_PATIENCE", 1)
        with pytest.raises(AssertionError, match="within 1 seconds: they hang"):
            pool.run(job_stuck)
    finally:
        pool.close()
