"""Any data set written as shards, from which the same rows are read again."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int
from pydantic import BaseModel, ConfigDict

from ..execution import leased
from ..files import FORMAT, read_json, write_json, write_text
from ..modalities import MODALITIES, PAIR
from ..trust import given
from .base import Data, view_size
from .listed.stored import StoredData
from .pictured import PairedData, PictureData
from .pictures.decode import MOST_PIXELS, reduced
from .sharded.sizes import SIZES
from .sharded.writing import SUFFIX, Form, ShardSample, reserve, write_shard
from .sides import SIDES
from .source import load_any, records_of, rooted
from .sources import CAPTION_COLUMNS, CONVERTED, PICTURE_COLUMNS, Ledger, Records, caption_lines, with_columns
from .synthetic.scenes import shards as scenes
from .synthetic.scenes.world import Scenes

ROWS = 5000
"""The largest number of rows in a shard."""

_AT_ONCE = 64  # rows in memory
_NAME = re.compile(r"(?:(?!\.{1,2}/)[^/\\:]+/)*[^/\\:.]{1,200}")  # names that a tar gives back
_TAKEN = {*PICTURE_COLUMNS, *CAPTION_COLUMNS, "id", "split", "group"}


class _Manifest(BaseModel):
    """``converted.json``: what a folder of shards is made of, whether all of them are there or not."""

    model_config = ConfigDict(extra="forbid")
    format: int
    source: str
    digest: str
    to: Form
    size: int | None
    shards: dict[str, int]


class _Planned(NamedTuple):
    """A shard to be written: the name of its file, its split, and its rows of the data."""

    file: str
    split: str
    rows: Int[np.ndarray, " n"]


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    to: Form = "webdataset",
    size: int | None = None,
    jobs: int | None = None,
    columns: Mapping[str, str] | None = None,
    on_rows: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, int]:
    """Write data as shards that hold the same rows: every column, with its gaps, splits, ids, groups and labels.

    A row's side is written down even where it was made here, so that the shards are divided as the source was. Rows
    that lack everything are left out. A conversion that was stopped goes on: a shard is whole or not there. Shards of
    more than pictures and captions note the columns that they hold, each of which is one column of a Parquet table; in
    a tar, texts and values are in the JSON, and the files of a column that is not called after its modality bear its
    name (``7.wrist.npy``). Scenes are written with all that is known of them, and read as scenes again.

    Args:
        source: whatever ``--data`` takes: a folder, a table, shards, an index, a collection, the name of a world.
        out: the folder of the shards.
        to: their format, tar files of WebDataset or Parquet files with pictures, sounds and the like inside.
        size: the most pixels of a picture's shorter side: a larger one becomes a JPEG of quality 95. All others,
            drawings, and files of other columns stay the bytes they are; what is drawn here is drawn for this size.
        jobs: pictures that are made smaller at a time; as many as there are processors unless given.
        columns: those columns of a table that have names of their own, by what they are for.
        on_rows: is told how many rows are written, of how many.

    Returns:
        The rows of each split.

    Raises:
        FileNotFoundError: if there is nothing at the path of the data.
        ValueError: if there is nothing to convert, the folder holds something else, or the source has changed since the
            folder was begun.
        OSError: if a shard cannot be written.
        InUseError: if another process writes into the folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     convert("digits", folder)
    {'train': 1000, 'validation': 200, 'test': 597}
    """
    given(source)
    written, folder = with_columns(os.fspath(source), columns or {}), Path(out)
    data = load_any(written)
    with leased(folder):
        if isinstance(data, Scenes) and data.stored is None:
            return _draw(data, written, folder, to, size, on_rows)
        return _copy(data, written, folder, to, size, jobs, on_rows)


def _draw(
    data: Scenes, written: str, folder: Path, to: Form, size: int | None, on_rows: Callable[[int, int], None]
) -> dict[str, int]:
    """Write scenes; see `convert`."""
    if size is not None and data.pixels > size:
        raise ValueError(f"scenes are drawn at the size that they are asked for: {written},pixels={size}")
    for done in scenes.write(data, folder, to):
        on_rows(done, len(data))
    return _counts((name.partition(":")[0], len(rows)) for name, rows in data.splits.sides.items())


def _copy(
    data: Data,
    written: str,
    folder: Path,
    to: Form,
    size: int | None,
    jobs: int | None,
    on_rows: Callable[[int, int], None],
) -> dict[str, int]:
    """Write any other data; see `convert`."""
    if to == "webdataset" and (bad := [name for name in data.columns if re.search(r"[/\\]", name)]):
        raise ValueError(f"{written}: no file in a tar can bear the name of the column {bad[0]!r}: rename it")
    if size is not None:
        # Data is told the size of views, and keeps pictures that are larger.
        data = data if isinstance(data, StoredData) else data.sized(view_size(size))
    rows = _Rows(data, records_of(written, Ledger()) if isinstance(data, StoredData) else None, to)
    planned = list(_planned(data, to))
    manifest = _Manifest(
        format=FORMAT,
        source=rooted(written),
        digest=data.identity(
            data.columns
            if isinstance(data, StoredData)
            else [c for c, modality in data.columns.items() if MODALITIES.get(modality).held != "files"]
        ),
        to=to,
        size=size,
        shards={shard.file: len(shard.rows) for shard in planned},
    )
    if not reserve(folder, CONVERTED, "shards that were begun here"):
        write_json(folder / CONVERTED, manifest.model_dump())
    elif read_json(folder / CONVERTED, _Manifest, f"delete {folder} and convert again") != manifest:
        raise ValueError(
            f"{folder} holds other shards, or its source has changed ({CONVERTED} says what it was): choose another "
            "folder with --out, or delete it"
        )
    if data.attribution:
        write_text(folder / "README.md", f"# {written}\n\n{data.attribution}\n")
    most = data.most_pixels if isinstance(data, PictureData) else MOST_PIXELS
    there = [shard for shard in planned if (folder / shard.file).exists()]
    done, total = sum(len(shard.rows) for shard in there), sum(len(shard.rows) for shard in planned)
    on_rows(done, total)
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        for shard in planned:
            if shard not in there:
                samples = rows.samples(shard, partial(reduced, size=size, most=most), pool)
                write_shard(folder / shard.file, samples, to, rows.columns, rows.files, rows.told)
                done += len(shard.rows)
                on_rows(done, total)
    if to == "webdataset":
        write_json(folder / SIZES, manifest.shards)
    return _counts((shard.split, len(shard.rows)) for shard in planned)


class _Rows:
    """The rows of a data set as samples.

    Args:
        data: open.
        records: that its source gives, where it is read from files.
        to: format of the shards.

    Attributes:
        files: the columns of files.
        told: all columns, each with its modality, where they are more than pictures and captions without gaps.
    """

    def __init__(self, data: Data, records: Records | None, to: Form) -> None:
        self._data = data
        self._held = {c: MODALITIES.get(modality).held for c, modality in data.columns.items()}
        self.files = [column for column, held in self._held.items() if held == "files"]
        every = np.unique(np.concatenate(list(data.splits.sides.values())))
        whole = all(data.present(column, every).all() for column in data.columns)
        usual = "image" in data.columns and data.columns.items() <= PAIR.items() and whole
        self.told = {} if usual else dict(data.columns)
        self._records = (
            records if records is None or not isinstance(data, StoredData) else data.among(records)
        )
        self._names: Sequence[str] | None = None
        self._ids: Sequence[str] | None = None
        if self._records is None:
            self._labels = {name: self._column(name) for name in data.labels}
            return
        self._labels = {name: self._column(name) for name in self._records.labels() if name != "group"}
        frame = self._records.frame
        keys = frame["key"].str.replace(r"\.[A-Za-z]+$", "") if frame["id"].is_null().all() else frame["key"]
        if keys.n_unique() == len(keys) and all(_NAME.fullmatch(key) and key.isprintable() for key in keys):
            self._names = keys.to_list()
        # A text is hashed under the name that a reader gives its row: where that is another one, the hash is written.
        named = frame["key"] if to == "parquet" else pl.Series(self._names or [""] * len(keys))
        if (frame["id"] == named).fill_null(False).all():
            self._ids = frame["id"].to_list()

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that samples have beside those of files, each with its type of polars."""
        columns: dict[str, Any] = {"id": pl.Int64 if self._ids is None else pl.String, "split": pl.String}
        if self._records is not None and not self._records.frame["group"].is_null().all():
            columns["group"] = pl.String
        for column, held in self._held.items():
            if held == "texts":
                columns[column] = pl.List(pl.String)
            elif held == "values":
                columns[column] = pl.Struct(dict.fromkeys(self._names_in(column), pl.String))
        return columns | dict.fromkeys(self._labels.values(), pl.String)

    def samples(
        self, shard: _Planned, made: Callable[[bytes], tuple[bytes, str]], pool: ThreadPoolExecutor
    ) -> Iterator[ShardSample]:
        """Yield the samples of a shard.

        Args:
            shard: to be written.
            made: from the bytes of a picture to those that are written, and their kind.
            pool: of threads that do so.
        """
        for start in range(0, len(shard.rows), _AT_ONCE):
            some = shard.rows[start : start + _AT_ONCE].tolist()
            files: dict[int, dict[str, tuple[str, bytes]]] = {row: {} for row in some}
            for column in self.files:
                having = [row for row in some if self._has(column, row)]
                contents = [self._data.file(column, row) for row in having]
                if self._data.columns[column] == "image":
                    pictures = pool.map(made, [data for _, data in contents])
                    contents = [(kind, picture) for picture, kind in pictures]
                for row, file in zip(having, contents, strict=True):
                    files[row][column] = file
            for row in some:
                yield self._sample(row, shard.split, files[row])

    def _has(self, column: str, row: int) -> bool:
        return bool(self._data.present(column, np.array([row]))[0])

    def _texts(self, column: str, row: int) -> list[str]:
        if isinstance(self._data, PairedData) and column == "text":
            return list(self._data.captions(row))
        text = self._data.read_training(column, np.array([row]))[0]
        if isinstance(text, str):
            return [text]
        # Of a conversation, the request and the reply of each exchange in turn.
        return [part for one in text for part in ([one] if isinstance(one, str) else one)]

    def _names_in(self, column: str) -> Sequence[str]:
        if self._records is not None:
            return self._records.values(column).columns
        return self._data.read(column, np.arange(1)).names

    def _values(self, column: str, row: int) -> dict[str, str]:
        if self._records is not None:
            cell = self._records[row].cells[column]
            assert isinstance(cell, Mapping)
            return dict(cell)
        table = self._data.read(column, np.array([row]))
        return {
            name: words[int(value)] if words else str(value).removesuffix(".0")
            for name, words, value in zip(table.names, table.categories, table.cells[0].numpy(), strict=True)
            if value == value
        }

    def _column(self, label: str) -> str:
        """Return the column that a label is written to: none that is read as something else."""
        return f"{label} (label)" if label in {*_TAKEN, *self._data.columns} else label

    def _sample(self, row: int, split: str, files: Mapping[str, tuple[str, bytes]]) -> ShardSample:
        number = int(self._data.ids[row])
        read = {"texts": self._texts, "values": self._values}
        cells = {
            column: read[held](column, row)
            for column, held in self._held.items()
            if held in read and self._has(column, row)
        }
        values: dict[str, Any] = {"id": number if self._ids is None else self._ids[row], "split": split}
        if self._records is None:
            labels = {
                name: text
                for name, label in self._data.labels.items()
                if (text := label.texts(np.array([row]))[0]) is not None
            }
        else:
            record = self._records[row]
            labels = dict(record.labels)
            if record.group is not None:
                values["group"] = record.group
        values |= cells
        values |= {self._labels[name]: label for name, label in labels.items() if name in self._labels}
        texts = cells.get("text", []) if self._held.get("text") == "texts" else []
        lines = "\n".join(texts)
        captions = lines if texts and caption_lines(lines, Ledger(), "") == tuple(texts) else None
        name = f"{number:012d}" if self._names is None else self._names[row]
        return ShardSample(name, files, captions, values, values)


def _planned(data: Data, to: Form) -> Iterator[_Planned]:
    """Yield the shards of all rows that are of a split and have anything, split by split."""
    free = np.zeros(len(data), dtype=bool)
    for column in data.columns:
        free |= data.present(column, np.arange(len(data)))
    for side in SIDES:
        sets = [rows for name, rows in data.splits.sides.items() if name.partition(":")[0] == side]
        rows = np.unique(np.concatenate([np.zeros(0, np.int64), *sets]))
        rows = rows[free[rows]]
        free[rows] = False
        for number, start in enumerate(range(0, len(rows), ROWS)):
            yield _Planned(f"{side}-{number:06d}.{SUFFIX[to]}", side, rows[start : start + ROWS])


def _counts(shards: Iterable[tuple[str, int]]) -> dict[str, int]:
    counts = Counter[str]()
    for side, rows in shards:
        counts[side] += rows
    return {side: counts[side] for side in SIDES if counts[side]}
