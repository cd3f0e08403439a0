"""An index of a source: its shards with what each holds, and what is held out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from ...files import DamagedFileError, read_json, read_table, writing
from ...reasons import counted
from .. import sources
from ..base import Rows
from ..labels import Label
from ..sides import SIDES
from ..sources import FileSpan, Ledger, MissingFilesError, Shard, SourceOptions
from .labels import LabelFile, read_label

FILE = "data-index.json"
"""File that a folder has once it is a whole index."""

BEGUN, TABLE, _ROWS, COPIED = "begun.json", "shards.parquet", "rows.npy", "held-out"
COLUMNS = {"name": pl.String(), "state": pl.String(), "held_out": pl.String()} | dict.fromkeys(
    SIDES, pl.Int64()
)
PLACES = dict.fromkeys(("location", "source", "part", "split"), pl.String()) | {"span": pl.List(pl.Int64)}


class OtherIndexError(ValueError):
    """A folder that holds an index of another source, or of what the source is no more."""


class IndexFile(BaseModel):
    """``data-index.json``."""

    model_config = ConfigDict(extra="forbid")
    format: int
    source: str
    columns: dict[str, str]
    held_out: dict[str, int]
    digest: str
    labels: dict[str, LabelFile]
    refused: dict[str, str]
    labelled: int
    words: dict[str, dict[str, tuple[str, ...]]]
    lacking: int
    guess: str


class IndexPlan(BaseModel):
    """``begun.json``: what an index that is not whole yet will be of."""

    model_config = ConfigDict(extra="forbid")
    format: int
    source: str
    held_out: int


@final
@dataclass(frozen=True)
class ShardIndex:
    """An index that is whole, and whose source has the shards that it had, but for some that are lost.

    Attributes:
        folder: of the index.
        source: what it is of, as a user writes it.
        columns: of the data, each with its modality; a record without one of them is left out.
        shards: that were indexed, in their order.
        lost: the numbers of those that are missing or changed by now, each with the reason.
        table: a row a shard: its ``name`` and ``state``, its records by side (``train``, ``validation``, ``test``), and
            the side that all of it is ``held_out`` for, empty for none.
        digest: equal for the same shards in the same states.
        held_out_rows: how many records of each side are copied out.
        labels: of the records, by name.
        refused: what might have been a label and is none, each with why.
        labelled: how many of the records to train on were read for their labels.
        words: of the columns of values, by what they are called the categories of each.
        lacking: how many of the records that were read are left out, as they lack one of the columns.
        advice: the command that makes it anew, in words.
        guess: what was guessed of the columns of its source, with the alternatives; empty for nothing.
    """

    folder: Path
    source: str
    columns: Mapping[str, str]
    shards: Sequence[Shard]
    lost: Mapping[int, str]
    table: pl.DataFrame
    digest: str
    held_out_rows: Mapping[str, int]
    labels: Mapping[str, LabelFile]
    refused: Mapping[str, str]
    labelled: int
    words: Mapping[str, Mapping[str, Sequence[str]]]
    lacking: int
    advice: str
    guess: str

    @classmethod
    def open(cls, folder: Path) -> ShardIndex:
        """Open an index.

        Raises:
            DamagedFileError: if it cannot be read.
            NewerFormatError: if a later version wrote it.
            OtherIndexError: if it is not whole yet; if its source has further shards now, or the same in another order.
        """
        remedy = f"delete {folder} and make the index again"
        if not (folder / FILE).exists():
            begun = read_json(folder / BEGUN, IndexPlan, remedy)
            raise OtherIndexError(
                f"the index {folder} is not whole yet: run counterpoint data index {begun.source!r} --out {folder} "
                "again, which goes on, or wait until whoever makes it is done"
            )
        file = read_json(folder / FILE, IndexFile, remedy)
        table = read_table(folder / TABLE, COLUMNS | PLACES, remedy)
        known = _known(table, file.source)
        try:
            now = sources.shards(file.source, Ledger())
        except MissingFilesError as error:  # of a pattern, which stands for nothing then
            now = [shard for shard in known if shard.location not in error.locations]
            if not now:
                raise
        advice = f"run counterpoint data index {file.source!r} --out {folder} again"
        if differing := _differing(table, now):
            raise OtherIndexError(
                f"the index {folder} is out of date: {differing}; {advice}, which counts what changed"
            )
        there = {shard.name: shard for shard in now}
        return cls(
            folder,
            file.source,
            file.columns,
            [there.get(shard.name, shard) for shard in known],
            _lost(known, there, advice),
            table,
            file.digest,
            file.held_out,
            file.labels,
            file.refused,
            file.labelled,
            file.words,
            file.lacking,
            advice,
            file.guess,
        )

    @property
    def options(self) -> SourceOptions:
        """The user's word on how the source is read."""
        return SourceOptions.of(self.source)

    @property
    def left_out(self) -> str:
        """The number of records that lack a column, in words with the remedy; empty where none does."""
        if not self.lacking:
            return ""
        return (
            f"{self.lacking:,}, which lack one of the columns {', '.join(self.columns)}: an index of fewer "
            "--columns keeps them"
        )

    @property
    def training(self) -> Rows:
        """The number of records of every shard that are trained on; none of one that is held out."""
        return (self.table["train"] * (self.table["held_out"] == "").cast(pl.Int64)).to_numpy()

    @property
    def split_here(self) -> bool:
        """Whole shards are held out, as no record says that it is held out."""
        return not (self.table["validation"].sum() or self.table["test"].sum())

    def label(self, name: str, rows: int) -> Label:
        """Return a label of every row, mapped from a file.

        Raises:
            DamagedFileError: if it cannot be read, or there are not so many rows.
        """
        remedy = f"delete {self.folder} and make it again"
        file = self.labels[name]
        try:
            label = read_label(self.folder, file)
        except (OSError, ValueError) as error:
            raise DamagedFileError(self.folder / file.file, " ".join(str(error).split()), remedy) from None
        if len(label.values) != rows:
            raise DamagedFileError(self.folder / file.file, f"there are not {rows:,} rows", remedy)
        return label

    @property
    def held_out(self) -> Path:
        """The folder of the records that are held out, copied out of the shards."""
        return self.folder / COPIED

    def rows(self, count: int) -> Rows:
        """Return the numbers from 0 on, mapped from a file: an array that nothing is held of but what is looked at."""
        path = self.folder / _ROWS
        if not path.exists() or len(np.load(path, mmap_mode="r")) < count:
            with writing(path, 8 * count) as part, part.open("wb") as file:
                _write_numbers(file, count)
        mapped: np.ndarray = np.load(path, mmap_mode="r")
        return mapped[:count]


def is_index(folder: Path) -> bool:
    """Return whether a folder is an index of data, or one that was begun."""
    return any(os.path.exists(folder / name) for name in (FILE, BEGUN))


def _known(table: pl.DataFrame, source: str) -> list[Shard]:
    """Return the shards that were indexed."""
    options = SourceOptions.of(source)
    rows = table.select("name", "state", *PLACES).iter_rows()
    return [
        Shard(name, place, of, state, options, part, split, span=FileSpan(*span) if span else None)
        for name, state, place, of, part, split, span in rows
    ]


def _lost(known: Sequence[Shard], present: Mapping[str, Shard], advice: str) -> dict[int, str]:
    """Return the numbers of the shards that cannot be read as they were indexed, each with the reason."""
    lost = {}
    for number, shard in enumerate(known):
        if shard.name not in present:
            lost[number] = f"{shard.location} is not there any more: bring it back, or {advice}"
        elif present[shard.name].state != shard.state:
            lost[number] = f"{shard.location} has changed since it was indexed: {advice}"
    return lost


def _differing(table: pl.DataFrame, shards: Sequence[Shard]) -> str:
    """Describe the shards that are new, with those that are missing or changed, or another order of the shards.

    Without new shards, missing and changed ones are no difference: other rows take the place of their rows.

    Args:
        table: of the index.
        shards: of its source now.
    """
    before, now = (
        dict(table.select("name", "state").iter_rows()),
        {shard.name: shard.state for shard in shards},
    )
    kinds = {
        "new": [name for name in now if name not in before],
        "missing": [name for name in before if name not in now],
        "changed": [name for name in now if before.get(name, now[name]) != now[name]],
    }
    if kinds["new"]:
        said = [
            f"{counted(len(names), 'shard')} {kind} ({names[0]})" for kind, names in kinds.items() if names
        ]
        return ", ".join(said)
    if [name for name in before if name in now] != list(now):
        return "its shards come in another order"
    return ""


def _write_numbers(file: Any, count: int) -> None:
    """Write the numbers from 0 on as an array, block by block."""
    header = {"descr": "<i8", "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)
    for start in range(0, count, 2**20):
        file.write(np.arange(start, min(start + 2**20, count), dtype="<i8").tobytes())
