"""Columns of a user's own files: of files, of texts and of values, row by row; a row may have nothing.

A column reads its rows, in evaluation and in training, and packs the cells of further rows in the same way: of files
their decoded examples, of texts all of a row, of values these by their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Int

from ...modalities import MODALITIES, resolve
from ...raw import Table
from ..base import Rows
from ..reading.file_examples import FileExamples, ReadOptions
from ..sources import Asset
from .words import known


@final
@dataclass(frozen=True, eq=False)
class FileColumn:
    """The files of a column.

    Attributes:
        files: those that there are.
        at: the position of each row's, −1 where it has none.
    """

    files: FileExamples
    at: Int[np.ndarray, " N"]

    @classmethod
    def of(
        cls, mask: Bool[np.ndarray, " N"], files: Sequence[Asset], modality: str, options: ReadOptions
    ) -> Self:
        """Read the files of those rows that have one."""
        at = np.where(mask, np.cumsum(mask) - 1, -1)
        return cls(resolve(MODALITIES.get(modality).storage).of(files, modality, options), at)

    @property
    def unreadable(self) -> dict[int, tuple[int, str]]:
        """The rows whose file is no example, each with the file's position and the reason."""
        rows = np.flatnonzero(self.at >= 0).tolist()
        return {rows[position]: (position, why) for position, why in sorted(self.files.unreadable.items())}

    @property
    def digests(self) -> pl.Series:
        """The digest of each row's file; null where it has none."""
        known = self.files.digests
        return pl.Series([known[at] if at >= 0 else None for at in self.at.tolist()], dtype=pl.String)

    def __getitem__(self, rows: Rows) -> FileColumn:
        """Return the files of some rows."""
        return FileColumn(self.files, self.at[rows])

    def present(self, rows: Rows) -> Bool[np.ndarray, " n"]:
        return self.at[rows] >= 0

    def read(self, rows: Rows) -> Any:
        return self.files.read(self.at[rows])

    def read_training(self, rows: Rows) -> Any:
        return self.read(rows)

    def pack(self, cells: Sequence[Any]) -> Any:
        return self.files.pack(cells)

    def pack_training(self, cells: Sequence[Any]) -> Any:
        return self.pack(cells)

    def encoded(self, row: int) -> bytes:
        """Return the bytes of a row's file.

        Raises:
            OSError: for a row that has none, and a file that cannot be read any more.
        """
        if self.at[row] < 0:
            raise OSError(f"row {row} has no file")
        return self.files.encoded(int(self.at[row]))

    def formed(self, form: Any) -> FileColumn:
        """Return the same examples read in another form; None for the same form."""
        return (
            self if form is None or form == self.files.form else FileColumn(self.files.formed(form), self.at)
        )


@final
@dataclass(frozen=True, eq=False)
class TextColumn:
    """The texts of a column: of a row one or more, in one list of all; one that has none reads as an empty text."""

    all: pl.Series
    starts: Int[np.ndarray, " N"]
    modality: str

    @classmethod
    def of(cls, lists: pl.Series, modality: str) -> Self:
        """Return the texts of some lists."""
        starts = np.concatenate([[0], lists.list.len().to_numpy().cumsum(dtype=np.int64)])
        return cls(lists.explode().drop_nulls(), starts, modality)

    def of_row(self, row: int) -> tuple[str, ...]:
        """Return the texts of a row."""
        start, end = self.starts[[row, row + 1]].tolist()
        return tuple(self.all[start:end].to_list()) or ("",)

    def present(self, rows: Rows) -> Bool[np.ndarray, " n"]:
        return self.starts[rows] < self.starts[np.asarray(rows) + 1]

    def read(self, rows: Rows) -> Any:
        return self.pack([self.of_row(int(row)) for row in rows])

    def read_training(self, rows: Rows) -> Any:
        return self.pack_training([self.of_row(int(row)) for row in rows])

    def pack(self, cells: Sequence[tuple[str, ...]]) -> Any:
        pack = resolve(MODALITIES.get(self.modality).pack)
        return [texts[0] for texts in cells] if pack is None else pack(cells, 0)

    def pack_training(self, cells: Sequence[tuple[str, ...]]) -> Any:
        pack = resolve(MODALITIES.get(self.modality).pack)
        return list(cells) if pack is None else pack(cells, 0)


@final
@dataclass(frozen=True, eq=False)
class ValueColumn:
    """Numbers and words of some columns of a table, which are one of the data.

    A column of which every cell is a number is one of numbers; of one of words these are categories, which are those of
    the training rows: one that none of these has is as if it were not known.

    Attributes:
        table: every row.
        unseen: by column the words that no training row has, each with the number of rows that have it.
    """

    table: Table
    unseen: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, values: pl.DataFrame, words: Mapping[str, Sequence[str]]) -> Self:
        """Read values, which are given as text.

        Args:
            values: a column each; of one that is not there nothing is known.
            words: of the columns to read, each with its categories; none of a column of numbers.
        """
        cells, unseen = [], {}
        nothing = pl.repeat(None, len(values), dtype=pl.String, eager=True)
        for name, categories in words.items():
            texts = known(values[name] if name in values.columns else nothing)
            codes = (
                texts.replace_strict(
                    categories, range(len(categories)), default=None, return_dtype=pl.Float64
                )
                if categories
                else texts.cast(pl.Float64, strict=False)
            )
            other = texts.filter(codes.is_null() & texts.is_not_null()).value_counts(sort=True)
            if len(other):
                unseen[name] = dict(other.iter_rows())
            cells.append(codes.to_numpy())
        whole = torch.from_numpy(np.stack(cells, 1).astype(np.float32))
        return cls(Table(whole, tuple(words), tuple(map(tuple, words.values()))), unseen)

    def present(self, rows: Rows) -> Bool[np.ndarray, " n"]:
        return (~self.table.cells[rows].isnan()).any(1).numpy()

    def read(self, rows: Rows) -> Table:
        return self.table[rows]

    def read_training(self, rows: Rows) -> Table:
        return self.read(rows)

    def pack(self, cells: Sequence[Mapping[str, str]]) -> Table:
        words = dict(zip(self.table.names, self.table.categories, strict=True))
        texts = {name: pl.Series([cell.get(name) for cell in cells], dtype=pl.String) for name in words}
        return ValueColumn.of(pl.DataFrame(texts), words).table

    def pack_training(self, cells: Sequence[Mapping[str, str]]) -> Table:
        return self.pack(cells)


Column = FileColumn | TextColumn | ValueColumn
