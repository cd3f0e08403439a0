"""Makes the cases importable, here and in worker processes, and lends out process groups that stay up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from rank_pool import RankPool


@pytest.fixture(scope="session")
def rank_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], RankPool]]:
    """A gloo process group per world size, started when first asked for and used until the session ends."""
    pools: dict[int, RankPool] = {}

    def pool(size: int) -> RankPool:
        if size in pools and pools[size].broken:
            pools.pop(size).close()
        if size not in pools:
            pools[size] = RankPool(size, tmp_path_factory.mktemp(f"ranks{size}"))
        return pools[size]

    yield pool
    for started in pools.values():
        started.close()
