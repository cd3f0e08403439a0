"""The words that a column of values may hold: those of the rows to train on, and none in a column of numbers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import polars as pl

from ..base import Rows
from ..sources import UNKNOWN

MOST_WORDS = 200
"""Words of a column of values, at most; of more it is a text."""
_LARGEST = float(np.finfo(np.float32).max)


def known(texts: pl.Series) -> pl.Series:
    """Return cells of a column of values as they are read; null where nothing is known.

    >>> known(pl.Series([" 3", "N/A", "?", "f"])).to_list()
    ['3', None, None, 'f']
    """
    texts = texts.str.strip_chars()
    return texts.set(texts.str.to_lowercase().is_in(UNKNOWN).fill_null(False), None)


@final
@dataclass(frozen=True)
class Words:
    """Survey of the cells of a column of values, in little space; the sum of two parts' is that of the whole.

    Attributes:
        numbers: how many cells are numbers.
        others: how many are known and are none.
        example: the first of these others; empty where there is none.
        where: the place of its row.
        of_training: all that is known of the rows to train on, as texts; None of more than `MOST_WORDS`.

    >>> import numpy as np
    >>> cells, where = pl.Series(["f", "m", None]), pl.Series(["row 1", "row 2", "row 3"])
    >>> (Words.of(cells[:1], where[:1], np.array([0])) + Words.of(cells, where, np.array([1]))).categories("sex")
    ('f', 'm')
    """

    numbers: int
    others: int
    example: str
    where: str
    of_training: tuple[str, ...] | None

    @classmethod
    def of(cls, texts: pl.Series, where: pl.Series, train: Rows) -> Self:
        """Survey cells.

        Args:
            texts: the cells.
            where: the place of every row, for messages.
            train: the rows that say which words there are.

        Raises:
            ValueError: for a number that is infinite, as it is read.
        """
        texts = known(texts)
        numbers = texts.cast(pl.Float64, strict=False)
        if len(far := (numbers.abs() > _LARGEST).fill_null(False).arg_true()):
            raise ValueError(
                f"{where[int(far[0])]}: {texts.name} is {texts[int(far[0])]}, beyond {_LARGEST:.1e}, the largest "
                "number that is read; mend or empty the cell"
            )
        others = (numbers.is_null() & texts.is_not_null()).arg_true()
        example, place = (texts[int(others[0])], where[int(others[0])]) if len(others) else ("", "")
        return cls(numbers.count(), len(others), example, place, _few(texts[train].drop_nulls().unique()))

    @classmethod
    def parse(cls, plain: dict[str, Any]) -> Self:
        """Return a survey from its attributes as JSON has them."""
        words = plain["of_training"]
        return cls(**{**plain, "of_training": None if words is None else tuple(words)})

    def __add__(self, other: Words) -> Words:
        of_training = None
        if self.of_training is not None and other.of_training is not None:
            of_training = _few({*self.of_training, *other.of_training})
        first = self if self.others else other
        return Words(
            self.numbers + other.numbers,
            self.others + other.others,
            first.example,
            first.where,
            of_training,
        )

    def categories(self, name: str) -> tuple[str, ...]:
        """Return the words of the column in their order; none of a column of numbers.

        Args:
            name: of the column, for messages.

        Raises:
            ValueError: for a word among numbers, and more than `MOST_WORDS` words.
        """
        if not self.others:
            return ()
        among = self.numbers > self.others
        if among or self.of_training is None:
            many = "and the others are" if among else f"one of more than {MOST_WORDS} words"
            raise ValueError(
                f"{self.where}: {name} holds {self.example!r}, which is no number, {many}: mend or empty the cell, or "
                f"give the column as text={name}"
            )
        return self.of_training


def _few(words: Collection[str]) -> tuple[str, ...] | None:
    """Return different words in their order; None of too many."""
    return tuple(sorted(words)) if len(words) <= MOST_WORDS else None
