"""Rows with gaps on several ranks, one of which has no complete row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gap_jobs import job_gaps
from rank_pool import RankPool

from fixtures.slow import on_ranks

ARMS: list[tuple[str, dict[str, Any]]] = [
    ("multimodn", {"change": 2.0}),
    ("late", {"fill": "mean"}),
    ("late", {"fill": "linear"}),
    ("late", {"fill": "predicted"}),
]


@pytest.mark.parametrize(("name", "options"), ARMS, ids=str)
@on_ranks
def test_ranks_change_neither_gradient_nor_what_is_kept(
    name: str, options: dict[str, Any], size: int, rank_pool: Callable[[int], RankPool]
) -> None:
    alone = job_gaps(0, 1, name, options)
    assert len(alone) > 4
    for found in rank_pool(size).run(job_gaps, name, options):
        assert found.keys() == alone.keys()
        for key, value in alone.items():
            torch.testing.assert_close(
                found[key], value, rtol=1e-9, atol=1e-12, msg=lambda m, k=key: f"{k}: {m}"
            )
