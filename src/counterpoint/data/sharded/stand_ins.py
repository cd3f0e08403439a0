"""Records that stand for rows to train on: a row's own, or where that is broken always the same other one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np

from ..base import Rows
from ..cache import CacheError
from ..reading.file_examples import FileExamples
from ..replaced import Replacement
from ..sources import Asset, Record
from .copies import UnreachableFileError
from .open_shards import MissingShardError, OpenShards


class StandIn(NamedTuple):
    """A record that stands for a row.

    Attributes:
        shard: its number.
        record: itself.
        cells: what it holds in every column: of the files that are read their decoded examples, else as `Record.cells`.
    """

    shard: int
    record: Record
    cells: Mapping[str, Any]


@final
class StandInRecords:
    """The records that stand for some rows to train on; the last ones are remembered.

    A batch is read column by column, and what stands for a row must be the same in each. So it is decided by the files
    of all columns that are read together, and these are decoded at once. A file of another column is not opened, and
    may be broken. The rows, their order and their labels are those of the data, whichever columns an arm reads; only
    for a row with a broken file, and only in arms that read this file, another record stands.

    Args:
        shards: that hold the records.
        files: by column what files are decoded as.
    """

    def __init__(self, shards: OpenShards, files: Mapping[str, FileExamples]) -> None:
        self._shards, self._files = shards, files
        self._last: tuple[object, Sequence[StandIn]] | None = None
        self._replaced: dict[int, Replacement] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None, "_replaced": {}}

    def of(self, rows: Rows, columns: Collection[str]) -> Sequence[StandIn]:
        """Return what stands for some rows.

        Args:
            rows: to train on.
            columns: whose files are read together.

        Raises:
            MissingShardError: if no shard can be read any more.
        """
        files = {column: it for column, it in self._files.items() if column in columns}
        asked = (*files,), np.asarray(rows, dtype=np.int64).tobytes()
        if self._last is None or self._last[0] != asked:
            self._last = asked, [self._one(row, files) for row in np.asarray(rows).tolist()]
        return self._last[1]

    def _one(self, row: int, files: Mapping[str, FileExamples]) -> StandIn:
        """Return what stands for a row: of its own shard, or of the next one where nothing of that can be had."""
        gone = self._shards.missing
        home, position = self._shards.locate(row)
        broken: tuple[str, str, str] | None = None
        for shard, records in self._shards.readable(home):
            if home in gone and broken is None:
                broken = self._shards.index.shards[home].location, gone[home], ""
            try:
                for further in range(len(records)):
                    record = records[(position + further) % len(records)]
                    decoded = self._decoded(record, shard, files)
                    if isinstance(decoded, str):  # the next one stands for it
                        reason, _, detail = decoded.partition(": ")
                        broken = broken or (record.where, reason, detail)
                        continue
                    if broken is not None:
                        self._replaced[row] = Replacement(row, *broken, record.where)
                    return StandIn(shard, record, {**record.cells, **decoded})
            except (MissingShardError, UnreachableFileError) as error:
                gone[shard] = str(error)
        raise MissingShardError(
            gone.get(home, f"{self._shards.index.folder}: no shard holds a record whose files can be read")
        )

    def _decoded(self, record: Record, shard: int, files: Mapping[str, FileExamples]) -> dict[str, Any] | str:
        """Return the examples in a record's files, or why one of them is none: a reason, a colon, and the details."""
        examples = {}
        for column, of_column in files.items():
            file = record.cells[column]
            assert isinstance(file, Asset)  # what lacks one is not trained on
            try:
                examples[column] = of_column.decode(self._shards.bytes_of(file, shard))
            except (MissingShardError, UnreachableFileError, CacheError):
                raise
            except (OSError, ValueError) as error:
                return f"{of_column.why(error)}: {' '.join(str(error).split())}"
        return examples

    def replaced(self) -> list[Replacement]:
        """Return what was replaced since this was last asked."""
        found = list(self._replaced.values())
        if found:
            self._last = None  # whoever asks for these rows again is told again
        self._replaced.clear()
        return found
