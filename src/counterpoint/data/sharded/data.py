"""Data over an index: its rows are records of shards, which are opened and decoded when the rows come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool

from ...frames import Frames
from ...networks.base import Input
from ...reasons import counted
from ...types import Fit
from ..base import Data, Rows, Splits
from ..derived.joined import joined_raw, joined_texts
from ..fingerprint import PARTS, ROW_SCHEMA, Fingerprint
from ..labels import Label
from ..listed.columns import FileColumn, TextColumn
from ..listed.labels import rare_notes, refusal_notes
from ..listed.stored import StoredData
from ..replaced import Replacement
from ..sources import Asset, Records, ending_of
from .first_records import FirstRecords
from .index import ShardIndex
from .open_shards import OpenShards
from .stand_ins import StandInRecords

_MAPPED = {"ids", "splits", "labels"}


class ShardedData(Data):
    """Rows that lie in shards: those to train on, then the held-out ones of each side.

    A row to train on is read when it is asked for, and nothing per row is held in memory: only the records of the
    shards that are open. Held-out rows are a user's own files like any others, and say how columns are read: in which
    form their files are decoded, which words there are. Where one of the files that are read of a record cannot be, the
    next record of its shard whose files can be takes the row's place, always the same one; see `StandInRecords`.

    Args:
        index: of the shards.
        held: the held-out rows.
    """

    def __init__(self, index: ShardIndex, held: StoredData) -> None:
        self.index, self.held = index, held
        self.name, self.columns, self.refused = str(index.folder), index.columns, index.refused
        self.shards, self.split_here = index.training, index.split_here
        self._trained = int(self.shards.sum())
        self._open = OpenShards(index)
        self._stand_ins = self._stand_in_records()
        self._map()

    def _stand_in_records(self) -> StandInRecords:
        """Return what stands for rows, its files read as those of held-out rows are."""
        files = self.held.file_columns
        return StandInRecords(self._open, {c: files[c].files for c in self.columns if c in files})

    def _map(self) -> None:
        """Map the numbers of all rows."""
        self.ids = self.index.rows(len(self))
        validation, test = (
            {name: rows + self._trained for name, rows in sets.items()}
            for sets in (self.held.splits.validation, self.held.splits.test)
        )
        self.splits = Splits(self.ids[: self._trained], validation, test)

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps files itself: what is mapped would be sent to it row by row.
        return {name: value for name, value in self.__dict__.items() if name not in _MAPPED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def __len__(self) -> int:
        return self._trained + len(self.held)

    @cached_property
    def subsets(self) -> np.ndarray:
        return np.broadcast_to(np.array("all"), len(self))

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        return {name: self.index.label(name, len(self)) for name in self.index.labels}

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The digest of the index, which tells the shards and their states; there is none for each row."""
        return Fingerprint(dict.fromkeys(PARTS, self.index.digest), pl.DataFrame(schema=ROW_SCHEMA))

    def examples(self) -> Mapping[str, Any]:
        return FirstRecords(self._open, self._stand_ins, {c: self.held.column(c) for c in self.columns})

    def ids_of(self, rows: Rows) -> Rows:
        return np.asarray(rows, dtype=np.int64)

    def metadata(self, rows: Rows) -> Mapping[str, pl.Series]:
        return joined_texts(self._metadata(np.asarray(rows)), len(rows))

    def _metadata(self, rows: Rows) -> Iterator[tuple[Rows, Mapping[str, pl.Series]]]:
        """Yield what is beside some rows, shard by shard; every name is there, whatever the rows."""
        yield np.arange(0), dict.fromkeys(self.refused, pl.Series(dtype=pl.String))
        trained, held = np.flatnonzero(rows < self._trained), np.flatnonzero(rows >= self._trained)
        shards, positions = (
            np.array([self._open.locate(row) for row in rows[trained].tolist()]).reshape(-1, 2).T
        )
        for shard in np.unique(shards).tolist():
            own = shards == shard
            told = self.records(shard).labels()
            yield trained[own], {name: told[name][positions[own]] for name in self.refused if name in told}
        held_rows = rows[held] - self._trained
        of_held = self.held.metadata(held_rows)
        yield held, {name: of_held[name] for name in self.refused if name in of_held}
        # What is no label of all rows may be one of the few that are held out.
        labels = {name: self.held.labels[name] for name in self.refused if name in self.held.labels}
        yield held, {name: pl.Series(it.texts(held_rows), dtype=pl.String) for name, it in labels.items()}

    def key(self, row: int) -> str:
        if row >= self._trained:
            return self.held.key(row - self._trained)
        shard, position = self._open.locate(row)
        return f"{self.index.shards[shard].name}/{self.records(shard)[position].key}"

    def records(self, number: int) -> Records:
        """Return the records of a shard that are trained on.

        Raises:
            MissingShardError: if it is missing, is not what was indexed, or holds nothing that can be read.
        """
        return self._open.records(number)

    def read(self, column: str, rows: Rows) -> Any:
        of_held = self.held.column(column)
        return self._joined(column, rows, of_held.read, of_held.pack)

    def read_training(self, column: str, rows: Rows) -> Any:
        of_held = self.held.column(column)
        return self._joined(column, rows, of_held.read_training, of_held.pack_training)

    def _joined(
        self, column: str, rows: Rows, read: Callable[[Rows], Any], pack: Callable[[Sequence[Any]], Any]
    ) -> Any:
        """Return some rows of a column in their raw form.

        Args:
            column: of the data.
            rows: of the data.
            read: reads held-out rows, by their numbers among these.
            pack: packs the cells of what stands for rows to train on.
        """
        rows = np.asarray(rows)
        trained, held = np.flatnonzero(rows < self._trained), np.flatnonzero(rows >= self._trained)
        parts: list[tuple[Rows, Any]] = []
        if len(trained):
            parts.append((trained, pack(self._cells(column, rows[trained]))))
        if len(held) or not len(rows):
            parts.append((held, read(rows[held] - self._trained)))
        return joined_raw(parts, len(rows), f"column {column!r} of {self.name}")

    def _cells(self, column: str, rows: Rows) -> list[Any]:
        """Return what stands for rows to train on in a column."""
        return [it.cells[column] for it in self._stand_ins.of(rows, self.held.read_with(column))]

    def cuts(self, column: str, rows: Rows) -> Frames:
        cuts, rows = super().cuts(column, rows).clone(), np.asarray(rows)
        of_held = self.held.column(column)
        if not isinstance(of_held, FileColumn):
            return cuts
        trained, held = np.flatnonzero(rows < self._trained), np.flatnonzero(rows >= self._trained)
        cuts[torch.from_numpy(trained)] = of_held.files.cuts_of(self._cells(column, rows[trained]))
        cuts[torch.from_numpy(held)] = self.held.cuts(column, rows[held] - self._trained)
        return cuts

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        there, rows = super().present(column, rows), np.asarray(rows)
        held = rows >= self._trained
        there[held] = self.held.present(column, rows[held] - self._trained)
        return there

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        if row >= self._trained:
            return self.held.evaluation_texts(column, row - self._trained)
        if isinstance(self.held.column(column), TextColumn):
            return tuple(self.read_training(column, np.array([row]))[0])
        return super().evaluation_texts(column, row)

    def bytes_of(self, column: str, row: int) -> bytes:
        """Return the bytes of the file of a row to train on.

        Raises:
            OSError: for a file that cannot be read any more.
        """
        ((shard, record, _),) = self._stand_ins.of(np.array([row]), self.held.read_with(column))
        file = record.cells[column]
        assert isinstance(file, Asset)
        return self._open.bytes_of(file, shard)

    def file(self, column: str, row: int) -> tuple[str, bytes]:
        if row >= self._trained:
            return self.held.file(column, row - self._trained)
        if column in self.held.file_columns:
            data = self.bytes_of(column, row)
            if ending := ending_of(data):
                return ending, data
        return super().file(column, row)

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        return self._formed(self.held.suited(inputs, training=training))

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        return self._formed(self.held.sized(image_size, fit))

    def _formed(self, held: StoredData) -> Self:
        """Return the same data with files in the forms of other held-out rows, which are the same ones."""
        if held is self.held:
            return self
        other = copy(self)
        other.held = held
        other._stand_ins = other._stand_in_records()
        return other

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        return {}

    def _digest_parts(self, columns: Any) -> Iterator[bytes]:
        yield self.index.digest.encode()

    def replaced(self) -> list[Replacement]:
        return self._stand_ins.replaced()

    def expect(self, shards: Sequence[int]) -> None:
        self._open.expect(shards)

    def describe(self) -> dict[str, dict[str, Any]]:
        return {
            "data": {
                "name": self.name,
                "source": self.index.source,
                "shards": len(self.shards),
                "rows": len(self),
            },
            "columns": dict(self.columns),
            "splits": {side: len(rows) for side, rows in self.splits.sides.items()},
            "labels": {name: label.contents for name, label in self.labels.items()},
        }

    def findings(self) -> Mapping[str, str]:
        notes = refusal_notes(self.refused)
        notes |= rare_notes({name: label.rare for name, label in self.index.labels.items()})
        if self.index.guess:
            notes["guessed"] = self.index.guess
        if self.index.left_out:
            notes["records left out"] = self.index.left_out
        if self.index.labels and self.index.labelled < self._trained:
            notes["labels"] = (
                f"known of {self.index.labelled:,} of {self._trained:,} records to train on: the others were "
                "counted by what lies beside their shards, and not read"
            )
        if lost := [number for number in self.index.lost if self.shards[number]]:
            lost_shards = f"{counted(len(lost), 'shard')} cannot be used, and others stand for what it held"
            notes["shards"] = f"{lost_shards}; the first: {self.index.lost[lost[0]]}"
        return notes
