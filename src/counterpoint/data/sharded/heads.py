"""The first records of some shards, of which is learned before training, as a tokenizer learns its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, final

import numpy as np

from ..listed.held import Filed, Held
from ..sources import Records
from .opening import OpenShards
from .standing import StandingRecords

_SHARDS, _RECORDS = 16, 2000  # shards, and records of each
_FILES = 256  # records in all whose files are read


@final
class Heads(Mapping[str, Any]):
    """The first records of some shards, column by column; texts and values are read without the files beside them.

    Args:
        shards: that hold them.
        standing: what stands for those whose files are read.
        held: by column, what packs its cells.
    """

    def __init__(self, shards: OpenShards, standing: StandingRecords, held: Mapping[str, Held]) -> None:
        self._shards, self._standing, self._held = shards, standing, held

    def __getitem__(self, column: str) -> Any:
        held, sizes = self._held[column], self._shards.sizes
        filled = np.flatnonzero(sizes)
        chosen = filled[np.unique(np.linspace(0, len(filled) - 1, min(_SHARDS, len(filled))).astype(int))]
        if isinstance(held, Filed):
            starts, most = sizes.cumsum()[chosen] - sizes[chosen], max(_FILES // len(chosen), 1)
            rows = [
                np.arange(start, start + min(size, most))
                for start, size in zip(starts, sizes[chosen], strict=True)
            ]
            return held.pack_training(
                [it.cells[column] for it in self._standing.of(np.concatenate(rows), [column])]
            )
        heads = (records[:_RECORDS] for shard in chosen for _, records in self._first(int(shard)))
        cells: list[Any] = [record.cells[column] for records in heads for record in records]
        return held.pack_training(cells)

    def _first(self, shard: int) -> Iterator[tuple[int, Records]]:
        return islice(self._shards.readable(shard), 1)

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)
