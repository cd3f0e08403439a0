"""The first records of some shards, of which is learned before training, as a tokenizer learns its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, final

import numpy as np

from ..listed.columns import Column, FileColumn
from ..sources import Records
from .open_shards import OpenShards
from .stand_ins import StandInRecords

_SHARDS, _RECORDS = 16, 2000  # shards, and records of each
_FILES = 256  # records in all whose files are read


@final
class FirstRecords(Mapping[str, Any]):
    """The first records of some shards, column by column; texts and values are read without the files beside them.

    Args:
        shards: that hold them.
        stand_ins: what stands for those whose files are read.
        columns: by name, each of which packs its cells.
    """

    def __init__(self, shards: OpenShards, stand_ins: StandInRecords, columns: Mapping[str, Column]) -> None:
        self._shards, self._stand_ins, self._columns = shards, stand_ins, columns

    def __getitem__(self, column: str) -> Any:
        of_column, sizes = self._columns[column], self._shards.sizes
        filled = np.flatnonzero(sizes)
        chosen = filled[np.unique(np.linspace(0, len(filled) - 1, min(_SHARDS, len(filled))).astype(int))]
        if isinstance(of_column, FileColumn):
            starts, most = sizes.cumsum()[chosen] - sizes[chosen], max(_FILES // len(chosen), 1)
            rows = [
                np.arange(start, start + min(size, most))
                for start, size in zip(starts, sizes[chosen], strict=True)
            ]
            return of_column.pack_training(
                [it.cells[column] for it in self._stand_ins.of(np.concatenate(rows), [column])]
            )
        firsts = (records[:_RECORDS] for shard in chosen for _, records in self._first(int(shard)))
        cells: list[Any] = [record.cells[column] for records in firsts for record in records]
        return of_column.pack_training(cells)

    def _first(self, shard: int) -> Iterator[tuple[int, Records]]:
        return islice(self._shards.readable(shard), 1)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)
