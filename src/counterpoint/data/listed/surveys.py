"""Surveys of columns of values: all that the kind of a label depends on, of any number of rows, in little space."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, final

import polars as pl

from ..labels import UNSURE
from ..sources import UNKNOWN

SEVERAL = "|"
"""The mark between the tags of a row in a text."""
MOST_VALUES = 2_000
"""Values of a column that are counted, at most; of more, a column of words is no label."""
MOST_TAGS = 1_000_000
"""Tags of a column that are counted, at most."""


@final
@dataclass(frozen=True)
class Survey:
    """Facts that the values of a column have in common; the sum of the surveys of two parts is that of the whole.

    Attributes:
        counts: the values with the rows that have each, as columns ``value`` and ``count``; None of too many values.
        numbers: all are numbers, but for marks of what is not known (``NA``).
        whole: all that are numbers are whole.
        several: a text has `SEVERAL` in it.
        lists: all are lists.
        points: all lists are of two numbers.
        words: all lists are of texts.
        longest: the numbers of the longest list, of which some may be null; None where a list holds anything else.
        listed: the tags in lists with the rows that have each; None of more than `MOST_TAGS`.
        parted: the tags in texts, `SEVERAL` between them, with the rows that have each; None of more than `MOST_TAGS`,
            and of texts that are not counted and have no `SEVERAL`.

    >>> one, other = Survey.of(pl.Series(["red|round"])), Survey.of(pl.Series(["red", None]))
    >>> dict((one + other).parted), (one + other).several, other.several
    ({'red': 2, 'round': 1}, True, False)
    """

    counts: pl.DataFrame | None
    numbers: bool
    whole: bool
    several: bool
    lists: bool
    points: bool
    words: bool
    longest: int | None
    listed: Mapping[str, int] | None
    parted: Mapping[str, int] | None

    @classmethod
    def of(cls, values: pl.Series) -> Self:
        """Survey a column of texts; null is no value."""
        counts = values.alias("value").drop_nulls().value_counts(name="count")
        texts = counts["value"]
        numbers = texts.cast(pl.Float64, strict=False)
        lists = lists_in(texts)
        several = bool(texts.str.contains(SEVERAL, literal=True).any())
        parted = tags_in(texts, lists=False) if several or len(texts) <= MOST_VALUES else None
        return cls(
            counts,
            bool(texts.filter(numbers.is_null()).str.to_lowercase().is_in(UNKNOWN).all()),
            bool((numbers == numbers.round()).all()),  # NaN is NaN
            several,
            lists is not None,
            all(len(each) == 2 and all(map(_is_number, each)) for each in lists or ()),
            all(isinstance(one, str) for each in lists or () for one in each),
            None if lists is None else _longest(lists),
            _counted(
                ([one for one in each if isinstance(one, str)] for each in lists or ()), counts["count"]
            ),
            None if parted is None else _counted(parted, counts["count"]),
        )

    def __add__(self, other: Survey) -> Survey:
        counts = None
        if self.counts is not None and other.counts is not None:
            both = pl.concat([self.counts, other.counts])
            counts = both.group_by("value").agg(pl.col("count").sum())
        listed, parted = (
            None if one is None or two is None else _few(_sum(one, two))
            for one, two in ((self.listed, other.listed), (self.parted, other.parted))
        )
        return Survey(
            counts,
            self.numbers and other.numbers,
            self.whole and other.whole,
            self.several or other.several,
            self.lists and other.lists,
            self.points and other.points,
            self.words and other.words,
            None if self.longest is None or other.longest is None else max(self.longest, other.longest),
            listed,
            parted,
        )

    def within(self, most: int) -> Survey:
        """Return the survey without the counts of values that are more than so many."""
        return self if self.counts is None or len(self.counts) <= most else replace(self, counts=None)

    @property
    def empty(self) -> bool:
        """True where no row has a value."""
        return self.counts is not None and not len(self.counts)

    @property
    def hopeless(self) -> bool:
        """True where the values are no label, whatever values come to them."""
        return self.counts is None and not (self.numbers or self.lists or self.several)

    @property
    def binary(self) -> bool:
        """True where all values are 0 and 1."""
        counts = self.counts
        return counts is not None and counts["value"].cast(pl.Float64, strict=False).is_in([0.0, 1.0]).all()


def lists_in(texts: pl.Series) -> list[list[Any]] | None:
    """Return the lists that texts are, as JSON has them; None where one is no list."""
    if not texts.str.starts_with("[").all():
        return None
    try:
        lists = [json.loads(text) for text in texts]
    except ValueError:
        return None
    return lists if all(isinstance(each, list) for each in lists) else None


def tags_in(texts: pl.Series, *, lists: bool) -> list[list[str]]:
    """Return the tags of each of some texts.

    Args:
        texts: of rows.
        lists: they are lists, as JSON has them, and not tags with `SEVERAL` between them.
    """
    if lists:
        return [json.loads(text) for text in texts]
    return [[tag for part in text.split(SEVERAL) if (tag := part.strip())] for text in texts]


def _counted(tags: Iterable[Iterable[str]], counts: pl.Series) -> Mapping[str, int] | None:
    """Return the tags of texts with the rows that have each; one of which nobody knows whether it applies has none.

    Args:
        tags: of each text.
        counts: the rows that have each text.
    """
    rows = Counter[str]()
    for each, count in zip(tags, counts, strict=False):
        for tag in dict.fromkeys(each):
            rows[tag.removeprefix(UNSURE)] += 0 if tag.startswith(UNSURE) else count
    return _few(rows)


def _sum(one: Mapping[str, int], two: Mapping[str, int]) -> Counter[str]:
    """Return the rows of each tag in two parts; unlike a sum of counters it keeps tags without rows."""
    rows = Counter(one)
    rows.update(two)
    return rows


def _few(rows: Counter[str]) -> Mapping[str, int] | None:
    """Return the rows of each tag; None where there are more tags than are counted."""
    return rows if len(rows) <= MOST_TAGS else None


def _longest(lists: Sequence[Sequence[Any]]) -> int | None:
    """Return the length of the longest list; None where one holds what is neither a number nor null."""
    if not all(one is None or _is_number(one) for each in lists for one in each):
        return None
    return max(map(len, lists), default=0)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
