"""The common parts of the readers: a data set of test rows with items, and files with clear errors."""

from __future__ import annotations

import csv
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import polars as pl
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ...types import Fit
from ..base import IMAGE_SIZE, Rows, SomeItems, Splits, stored_size
from ..fingerprint import digests_of_images
from ..items import Choices, Items, MinimalPairs
from ..pictured import PairedData
from ._pictures import NumberedPictures


class Benchmark(PairedData):
    """A benchmark: a row is an item's picture with its right captions, and all rows are for test.

    Rows are reported by their kind, up to a colon in it. The items of some rows have the rows' ids, so an example of
    ``retrieval`` and one of a task on items are the same thing.

    Args:
        name: as the user names it.
        pictures: the picture of each row.
        captions: what is true of each picture.
        kinds: of the rows.
        size: side of the pictures in pixels.
        ids: of the rows; their numbers unless given.
        note: what is worth knowing about this copy.
    """

    def __init__(
        self,
        name: str,
        pictures: NumberedPictures,
        captions: Sequence[Sequence[str]],
        kinds: Sequence[str],
        size: int,
        ids: Int[np.ndarray, " n"] | None = None,
        note: Mapping[str, str] | None = None,
    ) -> None:
        if not captions:
            raise ValueError(f"{name} holds no items")
        self.name = name
        self.form: int | Fit = size
        self._pictures, self._captions, self._note = pictures, captions, dict(note or {})
        self._sides: Sequence[NumberedPictures] = (pictures,)
        self.ids = np.arange(len(captions)) if ids is None else ids
        self.kinds = list(kinds)
        self.subsets = np.array([kind.partition(":")[0] for kind in self.kinds], dtype=str)
        self.splits = Splits(np.arange(0), {}, {"all": np.arange(len(captions))})

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        return self._pictures.squares(np.asarray(rows, dtype=np.int64), self.form)

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        side = stored_size(image_size)
        return self._formed(side if fit is None else fit.uncut(side))

    def fitted(self, fit: Fit) -> Self:
        return self._formed(fit)

    def _formed(self, form: int | Fit) -> Self:
        other = copy(self)
        other.form = form
        return self if form == self.form else other

    def picture_digests(self) -> Sequence[bytes]:
        # The data is the same whatever size is asked for.
        sides = (
            digests_of_images(partial(side.squares, form=stored_size(IMAGE_SIZE)), len(self))
            for side in self._sides
        )
        return [b"".join(digests) for digests in zip(*sides, strict=True)]

    def questions_about(self, row: int) -> Sequence[str]:
        return (self.kinds[row],)

    def captions(self, row: int) -> Sequence[str]:
        return self._captions[row]

    def evaluation_captions(self, row: int) -> Sequence[str]:
        return self._captions[row]

    def findings(self) -> Mapping[str, str]:
        return self._note


class ItemBenchmark(Benchmark):
    """A benchmark of items of one form, a row each."""

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        of_kinds = rows if kinds is None else np.array([r for r in rows if self.kinds[r] in kinds], np.int64)
        items = self._items_of(of_kinds)
        return items if isinstance(items, form) else super().items(form, rows, kinds)

    @abstractmethod
    def _items_of(self, rows: Rows) -> Items:
        """Return the items of some rows."""


class ItemsOfRows(Items):
    """Items that are a row each of a benchmark whose rows have several pictures.

    Args:
        data: the benchmark.
        rows: of it.
    """

    def __init__(self, data: Benchmark, rows: Rows) -> None:
        self._data, self._rows = data, rows
        self.ids, self.kinds = data.ids[rows], [data.kinds[row] for row in rows]

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k sides 3 H W"]:
        """Return the pictures of some items."""
        rows = self._rows[positions]
        return torch.stack([side.squares(rows, self._data.form) for side in self._data._sides], 1)


@final
class MinimalPairsBenchmark(ItemBenchmark):
    """A benchmark of squares; the rows are pictures and captions 0."""

    def __init__(
        self,
        name: str,
        pictures: tuple[NumberedPictures, NumberedPictures],
        captions: Sequence[tuple[str, str]],
        kinds: Sequence[str],
        size: int,
        note: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, pictures[0], [pair[:1] for pair in captions], kinds, size, note=note)
        self._sides, self._pairs = pictures, captions

    def questions_about(self, row: int) -> Sequence[str]:
        return (self.kinds[row], *self._pairs[row])

    def _items_of(self, rows: Rows) -> Items:
        return _MinimalPairsOfRows(self, rows)


class _MinimalPairsOfRows(ItemsOfRows, MinimalPairs):
    def __init__(self, data: MinimalPairsBenchmark, rows: Rows) -> None:
        super().__init__(data, rows)
        self.captions = [data._pairs[row] for row in rows]


@final
class ChoicesBenchmark(ItemBenchmark):
    """A benchmark of choices; the rows are pictures and their right captions."""

    def __init__(
        self,
        name: str,
        pictures: NumberedPictures,
        options: Sequence[Sequence[str]],
        answers: Sequence[int],
        kinds: Sequence[str],
        size: int,
        note: Mapping[str, str] | None = None,
    ) -> None:
        right = [(of_item[answer],) for of_item, answer in zip(options, answers, strict=True)]
        super().__init__(name, pictures, right, kinds, size, note=note)
        self._options, self._answers = options, np.asarray(answers)

    def questions_about(self, row: int) -> Sequence[str]:
        return (self.kinds[row], str(self._answers[row]), *self._options[row])

    def _items_of(self, rows: Rows) -> Items:
        return _ChoicesOfRows(self, rows)


class _ChoicesOfRows(Choices):
    def __init__(self, data: ChoicesBenchmark, rows: Rows) -> None:
        self._data, self._rows = data, rows
        self.ids, self.kinds = data.ids[rows], [data.kinds[row] for row in rows]
        self.options, self.answers = [data._options[row] for row in rows], data._answers[rows]

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        return self._data.images(self._rows[positions])


def read_json(path: Path) -> Any:
    """Read the content of a JSON file, or of a JSONL file as a list.

    Raises:
        ValueError: if it is neither.
    """
    text = path.read_text(encoding="utf-8-sig")  # editors may put a mark before it
    try:
        if path.suffix == ".jsonl":
            lines = text.split("\n")  # JSON's texts may hold what else ends a line (U+2028)
            return [_read_line(line, f"{path}, line {k}") for k, line in enumerate(lines, 1) if line.strip()]
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def _read_line(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}, is not valid JSON: {error.msg} at column {error.colno}") from error


def read_csv(path: Path) -> list[list[str]]:
    """Read the rows of a CSV file, its header first."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row for row in csv.reader(file) if any(cell.strip() for cell in row)]


def fields(record: Any, names: Sequence[str], where: str) -> list[Any]:
    """Return some fields of a record.

    Raises:
        ValueError: if one is missing; the message says which there are.
    """
    if not isinstance(record, Mapping):
        raise ValueError(
            f"{where}: expected an object with {', '.join(names)}, found {type(record).__name__}"
        )
    missing = [name for name in names if name not in record]
    if missing:
        raise ValueError(
            f"{where}: no {' and no '.join(missing)}; expected {', '.join(names)}, found {', '.join(record)}"
        )
    return [record[name] for name in names]


def shards(folder: Path, expected: Sequence[str], benchmark: str) -> tuple[list[Path], pl.DataFrame]:
    """Return the Parquet files in a folder or its ``data``, and their columns without the pictures.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if a column is missing.
    """
    files = [folder] if folder.suffix == ".parquet" else []
    files = files or sorted(folder.glob("data/*.parquet")) or sorted(folder.glob("*.parquet"))
    if not files:
        raise FileNotFoundError(
            f"{benchmark}: no Parquet files in {folder} or its folder 'data': give a copy of the published data "
            f"set, with the columns {', '.join(expected)}"
        )
    schema = pl.scan_parquet(files[0], glob=False).collect_schema()
    missing = [name for name in expected if name not in schema]
    if missing:
        raise ValueError(
            f"{benchmark}: {files[0]} has no column {', '.join(missing)}; expected {', '.join(expected)}, "
            f"found {', '.join(schema)}"
        )
    plain = [name for name in expected if not isinstance(schema[name], pl.Struct)]
    return files, pl.concat([pl.read_parquet(file, columns=plain, glob=False) for file in files])


def folder_of_pictures(folder: Path, names: Sequence[str], benchmark: str) -> Path:
    """Find the first folder of these names inside or beside ``folder``.

    Raises:
        FileNotFoundError: if there is none.
    """
    folders = [base / name for base in (folder, folder.parent) for name in names]
    for candidate in folders:
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"{benchmark}: no pictures; expected one of the folders {', '.join(map(str, folders))}"
    )
