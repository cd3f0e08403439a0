"""Files, texts and values of a column of a user's own files, row by row; a row may have nothing."""

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
from ..reading.treated import Files, Treatment
from ..sources import Asset

MOST_WORDS = 200
"""Words of a column of values, at most; of more it is a text."""
_UNKNOWN = ("nan", "na", "n/a", "null", "none", "?")


@final
@dataclass(frozen=True, eq=False)
class Filed:
    """The files of a column.

    Attributes:
        files: those that there are.
        at: the position of each row's, −1 where it has none.
    """

    files: Files
    at: Int[np.ndarray, " N"]

    @classmethod
    def of(
        cls, there: Bool[np.ndarray, " N"], files: Sequence[Asset], modality: str, treatment: Treatment
    ) -> Self:
        """Read the files of those rows that have one."""
        at = np.where(there, np.cumsum(there) - 1, -1)
        return cls(resolve(MODALITIES.get(modality).kept).of(files, modality, treatment), at)

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

    def __getitem__(self, rows: Rows) -> Filed:
        """Return the files of some rows."""
        return Filed(self.files, self.at[rows])

    def present(self, rows: Rows) -> Bool[np.ndarray, " n"]:
        return self.at[rows] >= 0

    def read(self, rows: Rows) -> Any:
        return self.files.read(self.at[rows])

    def read_training(self, rows: Rows) -> Any:
        return self.read(rows)

    def encoded(self, row: int) -> bytes:
        """Return the bytes of a row's file.

        Raises:
            OSError: for a row that has none, and a file that cannot be read any more.
        """
        if self.at[row] < 0:
            raise OSError(f"row {row} has no file")
        return self.files.encoded(int(self.at[row]))

    def formed(self, form: Any) -> Filed:
        """Return the same examples read in another form; None for the same form."""
        return self if form is None or form == self.files.form else Filed(self.files.formed(form), self.at)


@final
@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of a column: of a row one or more, in one list of all; one that has none reads as an empty text."""

    all: pl.Series
    starts: Int[np.ndarray, " N"]

    @classmethod
    def of(cls, lists: pl.Series) -> Self:
        """Return the texts of some lists."""
        starts = np.concatenate([[0], lists.list.len().to_numpy().cumsum(dtype=np.int64)])
        return cls(lists.explode().drop_nulls(), starts)

    def of_row(self, row: int) -> tuple[str, ...]:
        """Return the texts of a row."""
        start, end = self.starts[[row, row + 1]].tolist()
        return tuple(self.all[start:end].to_list()) or ("",)

    def present(self, rows: Rows) -> Bool[np.ndarray, " n"]:
        return self.starts[rows] < self.starts[np.asarray(rows) + 1]

    def read(self, rows: Rows) -> list[str]:
        return [self.of_row(int(row))[0] for row in rows]

    def read_training(self, rows: Rows) -> list[tuple[str, ...]]:
        return [self.of_row(int(row)) for row in rows]


@final
@dataclass(frozen=True, eq=False)
class Values:
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
    def of(cls, values: pl.DataFrame, train: Rows, where: pl.Series) -> Self:
        """Read values, which are given as text.

        Args:
            values: a column each.
            train: the rows that say which words there are; all of them where this is none.
            where: the place of every row, for messages.

        Raises:
            ValueError: for a number that is infinite, a word among numbers, and more than `MOST_WORDS` words.
        """
        cells, categories, unseen = [], [], {}
        for name in values.columns:
            texts = values[name].str.strip_chars()
            texts = texts.set(texts.str.to_lowercase().is_in(_UNKNOWN).fill_null(False), None)
            numbers = texts.cast(pl.Float64, strict=False)
            if len(far := numbers.is_infinite().fill_null(False).arg_true()):
                raise ValueError(
                    f"{where[int(far[0])]}: {name} is infinite ({texts[int(far[0])]}); mend or empty the cell"
                )
            wordy = (numbers.is_null() & texts.is_not_null()).arg_true()
            if not len(wordy):
                cells.append(numbers.to_numpy())
                categories.append(())
                continue
            words = (texts[train] if len(train) else texts).drop_nulls().unique().sort().to_list()
            among = numbers.count() > len(wordy)
            if len(words) > MOST_WORDS or among:
                many = "and the others are" if among else f"one of more than {MOST_WORDS} words"
                raise ValueError(
                    f"{where[int(wordy[0])]}: {name} holds {texts[int(wordy[0])]!r}, which is no number, {many}: mend "
                    f"or empty the cell, or give the column as text={name}"
                )
            codes = texts.replace_strict(
                words, list(map(float, range(len(words)))), default=None, return_dtype=pl.Float64
            )
            other = texts.filter(codes.is_null() & texts.is_not_null()).value_counts(sort=True)
            if len(other):
                unseen[name] = dict(other.iter_rows())
            cells.append(codes.to_numpy())
            categories.append(tuple(words))
        whole = torch.from_numpy(np.stack(cells, 1).astype(np.float32))
        return cls(Table(whole, tuple(values.columns), tuple(categories)), unseen)

    def present(self, rows: Rows) -> Bool[np.ndarray, " n"]:
        return (~self.table.cells[rows].isnan()).any(1).numpy()

    def read(self, rows: Rows) -> Table:
        return self.table[rows]

    def read_training(self, rows: Rows) -> Table:
        return self.read(rows)

    def digests(self) -> list[str]:
        """Return what tells each row from others: its values as text."""
        return ["\0".join(row.values()) for row in self.table.rows()]


Held = Filed | Texts | Values
