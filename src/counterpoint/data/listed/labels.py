"""From columns of values to labels: which of them are some, of what kind, and in which order their classes come."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import polars as pl

from ...reasons import counted
from ...registry import unknown
from ...types import Kind
from ..labels import LEAST, MOST_CLASSES, Label, Rare, Values, label_of, tag_values, unknown_values
from ..sources import FOLDER
from .spans import DURATION, PLACES, UNKNOWN_DURATION, span_columns, span_values
from .surveys import MOST_TAGS, MOST_VALUES, Survey, tags_in

TEMPLATES = ("{}", "a photo of {}", "a picture of {}")
"""Sentences for the classes of a user's own label."""
FEW_CLASSES = 10
"""Classes or tags that are all taken where hardly any is frequent; more of one example each name the rows."""
_MOST_CELLS = 2**31
"""Rows times tags of a label, at most: each is a byte."""
_LONGEST = 256  # characters of a class's name, as of a file's
MANY = f"more than {MOST_VALUES:,} values"
"""The reason why texts are no label where there are too many to be counted."""


@final
@dataclass(frozen=True)
class LabelFormat:
    """The way in which texts are read as values of a label.

    Attributes:
        kind: of the label.
        columns: of the texts; two of a point whose x and y are apart, three of spans: starts, ends and durations.
        names: of its classes or tags, in the order of their numbers; none of other kinds.
        lists: texts are lists, as JSON has them.
        rare: the classes or tags that are left out; None where all have names.
        longest: of timelines, the most numbers that a row has.
    """

    kind: Kind
    columns: tuple[str, ...]
    names: tuple[str, ...] = ()
    lists: bool = False
    rare: Rare | None = None
    longest: int = 0

    @property
    def _of_spans(self) -> bool:
        return len(self.columns) == 3

    def unknown(self, rows: int) -> Values:
        """Return the values of rows of which nothing is known."""
        if self.kind == "timelines":
            return np.full((rows, self.longest), np.nan, np.float16 if self._of_spans else np.float64)
        return unknown_values(self.kind, len(self.names), rows)

    def values(self, columns: Mapping[str, pl.Series], rows: int) -> Values:
        """Read the values of rows.

        Args:
            columns: texts of the rows; null is no value.
            rows: their number, as a column may not be there.
        """
        missing = pl.repeat(None, rows, dtype=pl.String, eager=True)
        texts = [columns.get(column, missing) for column in self.columns]
        if self._of_spans:
            return span_values(*texts)
        values = self.unknown(rows)
        known = texts[0].is_not_null().to_numpy()
        told = texts[0].drop_nulls()
        if self.kind == "classes":
            values[known] = told.replace_strict(
                self.names, range(len(self.names)), default=-1, return_dtype=pl.Int64
            ).to_numpy()
        elif self.kind == "tags":
            values[known] = tag_values(tags_in(told, lists=self.lists), self.names)
        elif self.kind == "timelines":
            for row, text in zip(np.flatnonzero(known), told, strict=True):
                numbers = json.loads(text)
                values[row, : len(numbers)] = [np.nan if one is None else one for one in numbers]
        elif self.lists:
            values[known] = np.array([json.loads(text) for text in told]).reshape(-1, 2)
        else:
            values[...] = np.stack(list(map(numbers_in, texts)), axis=-1).reshape(values.shape)
        return values


def labels_of(
    columns: Mapping[str, pl.Series], numbers: Collection[str] = (), least: int | None = None
) -> tuple[dict[str, Label], dict[str, str]]:
    """Return the labels that columns of texts are, and why other columns are none; null is no value.

    Their kinds are those of `labels_by`.

    >>> labels, refused = labels_of({"look": pl.Series(["red|round", "red"]), "only": pl.Series(["a", "a"])})
    >>> labels["look"].names, refused
    (('red', 'round'), {'only': '1 value'})
    """
    surveys = {name: bounded(name, Survey.of(values)) for name, values in columns.items()}
    rows = max(map(len, columns.values()), default=0)
    return labels_by(surveys, lambda _, reading: reading.values(columns, rows), rows, numbers, least)


def bounded(name: str, survey: Survey) -> Survey:
    """Return a survey that takes little space; there are as many classes as there are folders."""
    return survey if name == FOLDER else survey.within(MOST_VALUES)


def labels_by(
    surveys: Mapping[str, Survey],
    read: Callable[[str, LabelFormat], Values],
    rows: int,
    numbers: Collection[str] = (),
    least: int | None = None,
) -> tuple[dict[str, Label], dict[str, str]]:
    """Return the labels that columns of texts are, whose values are read once their kind is known.

    ===========  ===================================================================================================
    classes      2 to `MOST_CLASSES` values, of `FOLDER` any number; those of fewer examples than are asked for are left
                 out, unless they are `FEW_CLASSES` at most and hardly any is frequent; they may not hold most examples
    tags         lists of texts, ``["red", "round"]``, or texts with `SEVERAL` between them, ``red|round``; alone it
                 stands for no tag, and before a tag of which it is not known whether it applies stands `UNSURE`; rare
                 ones are left out in the same way
    numbers      of which some are not whole, or more than `MOST_CLASSES`, or that are said to be some; NaN is no value
    points       lists of two numbers, or two columns ``x`` and ``y`` (the label ``point``), ``NAME_x`` and ``NAME_y``
                 (the label ``NAME``); shares of width and height
    timelines    other lists of numbers, as texts have them, one for each of some places in time, which are evenly
                 spread; null is not known. Or two columns ``start`` and ``end`` (the label ``moments``),
                 ``NAME_start`` and ``NAME_end`` (the label ``NAME``) of seconds, with a column `DURATION`: see
                 `counterpoint.data.listed.spans`
    ===========  ===================================================================================================

    Args:
        surveys: of the columns.
        read: reads the values of all rows for the label of a name.
        rows: their number.
        numbers: the columns that are numbers, though all of them are whole.
        least: the number of examples that a class or a tag needs; `LEAST` unless given.

    Returns:
        The labels, and of each other column why it is none.

    Raises:
        UnknownNameError: for numbers of a column that there is not.
    """
    for name in numbers:
        if name not in surveys:
            raise unknown("label", name, surveys)
    labels: dict[str, Label] = {}
    refused: dict[str, str] = {}
    apart: set[str] = set()  # columns that are x and y of a point, or starts and ends
    free = {name: it for name, it in surveys.items() if name not in numbers}
    pairs = [(name, LabelFormat("points", tuple(pair)), pair) for name, *pair in _pairs(free)]
    pairs += [
        (name, LabelFormat("timelines", (*pair, DURATION), longest=PLACES), pair)
        for name, *pair in span_columns(free)
    ]
    for name, reading, pair in pairs:
        try:
            if reading.kind == "timelines" and DURATION not in surveys:
                raise ValueError(UNKNOWN_DURATION)
            labels[name] = label_of(reading.kind, (), read(name, reading))
            apart |= {*pair}
        except ValueError as error:
            refused[name] = str(error)
    for name, survey in sorted(surveys.items()):
        if name in labels or name in apart:
            continue
        try:
            reading = reading_of(name, survey, number=name in numbers, least=least)
            if reading.kind == "tags" and rows * len(reading.names) > _MOST_CELLS:
                raise ValueError(
                    f"{len(reading.names):,} tags of {rows:,} rows take too much memory: --least leaves out rare ones"
                )
            labels[name] = label_of(reading.kind, reading.names, read(name, reading), TEMPLATES, reading.rare)
        except ValueError as error:
            refused[name] = str(error)
    return dict(sorted(labels.items())), dict(sorted(refused.items()))


def reading_of(name: str, survey: Survey, *, number: bool = False, least: int | None = None) -> LabelFormat:
    """Return the way in which a column is read as a label.

    Args:
        name: of the column.
        survey: of its values.
        number: they are numbers, though all of them are whole.
        least: the number of examples that a class or a tag needs; `LEAST` unless given.

    Raises:
        ValueError: if it is none; the message says why, in a few words.
    """
    if number and not survey.empty:
        if not survey.numbers:
            raise ValueError("said to be numbers, and some values are none")
        return LabelFormat("numbers", (name,))
    if (survey.lists or survey.several) and not survey.empty:
        return _several(name, survey, least)
    counts = survey.counts
    if counts is None:
        if survey.numbers:
            return LabelFormat("numbers", (name,))
        raise ValueError(MANY)
    value = pl.col("value").cast(pl.Float64, strict=False)
    some = survey.numbers and counts.filter(value.is_not_null()).height > 0
    if some:
        counts = counts.filter(value.is_not_nan())  # nor are marks of what is not known, which are null
    most = len(counts) if name == FOLDER else MOST_CLASSES
    if some and (counts.is_empty() or not survey.whole or len(counts) > most):
        return LabelFormat("numbers", (name,))
    if name == FOLDER and len(counts) == 1:
        raise ValueError(f"one class in all, {counts['value'][0]}: give each kind a folder of its own")
    if (longest := int(counts["value"].str.len_chars().to_numpy().max(initial=0))) > _LONGEST:
        raise ValueError(f"a text of {longest:,} characters, which names no class")
    if len(counts) < 2:
        raise ValueError(counted(len(counts), "value"))
    folder = name == FOLDER
    frequent, rare = _frequent("classes", dict(counts.iter_rows()), least, few=not folder, sure=folder)
    if folder and len(frequent) == 1 and rare:
        raise ValueError(
            f"one class of {rare.least} or more examples, {frequent[0]}: give each kind a folder of its own"
        )
    if not 2 <= len(frequent) <= most:
        of = "" if rare is None else f" of {rare.least} or more examples"
        raise ValueError(f"{counted(len(frequent), 'value')}{of}")
    counts = counts.filter(pl.col("value").is_in(frequent))
    return LabelFormat("classes", (name,), tuple(counts.sort(value, "value")["value"]), rare=rare)


def _frequent(
    kind: Kind, counts: Mapping[str, int], least: int | None, *, few: bool = True, sure: bool = False
) -> tuple[list[str], Rare | None]:
    """Return the classes or tags that have enough examples, and what is said of the others.

    Args:
        kind: classes or tags.
        counts: the examples of each.
        least: the number of examples that each needs; that of its kind unless given.
        few: up to `FEW_CLASSES` are all taken where too few of them have enough, unless a number is given.
        sure: they are classes or tags, however few examples the frequent ones have.

    Raises:
        ValueError: for values most of whose examples are of rare ones, as those of names are.
    """
    needed = LEAST[kind] if least is None else least
    frequent = [value for value, count in counts.items() if count >= needed]
    every, some = sum(counts.values()), sum(counts[value] for value in frequent)
    enough = len(frequent) >= (2 if kind == "classes" else 1)
    if few and not enough and least is None and len(counts) <= FEW_CLASSES:
        return [*counts], None
    if len(counts) > FEW_CLASSES and max(counts.values()) == 1 and needed > 1:
        raise ValueError(f"{len(counts):,} values, each of one example")
    if 2 * some < every and not sure:
        raise ValueError(f"{len(counts):,} values, of which most have fewer than {needed} examples")
    if len(frequent) == len(counts):
        return frequent, None
    return frequent, Rare(len(counts) - len(frequent), every - some, needed, kind)


def _several(name: str, survey: Survey, least: int | None) -> LabelFormat:
    """Return the way in which a column of lists is read: as points where all have two numbers, as timelines or tags."""
    if survey.lists and survey.points:
        return LabelFormat("points", (name,), lists=True)
    if survey.lists and survey.longest:
        return LabelFormat("timelines", (name,), lists=True, longest=survey.longest)
    if survey.lists and not survey.words:
        raise ValueError("lists that hold neither tags nor numbers")
    tags = survey.listed if survey.lists else survey.parted
    if tags is None:
        raise ValueError(f"more than {MOST_TAGS:,} tags")
    if not any(tags.values()):
        raise ValueError("no row has any of its tags")
    frequent, rare = _frequent("tags", tags, least, sure=survey.lists)
    if not frequent:
        raise ValueError(f"no tag of {rare.least if rare else 1} or more examples: --least 1 keeps all")
    return LabelFormat("tags", (name,), tuple(sorted(frequent)), survey.lists, rare)


def rare_notes(rare: Mapping[str, Rare | None]) -> dict[str, str]:
    """Return a title and a line on the classes and tags that are left out, by label; nothing where there are none."""
    lines = [f"{name}: {it} ({counted(it.examples, 'example')})" for name, it in rare.items() if it]
    return {"rare classes and tags": "; ".join(lines)} if lines else {}


def refusal_notes(refused: Mapping[str, str]) -> dict[str, str]:
    """Return a title and a line on columns that are no labels; nothing where all are."""
    if not refused:
        return {}
    reasons = ", ".join(f"{name} ({why})" for name, why in refused.items())
    return {"columns that are no labels": f"{reasons}; a label has 2 to {MOST_CLASSES} values"}


def numbers_in(texts: pl.Series) -> Values:
    """Return texts as numbers, NaN where there is none."""
    return texts.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


def _pairs(surveys: Mapping[str, Survey]) -> list[tuple[str, str, str]]:
    """Return the labels of points that pairs of columns of numbers may be, each with the two; 0 and 1 are classes."""
    found = [("point", "x", "y")] if surveys.keys() >= {"x", "y"} else []
    stems = (name.removesuffix("_x") for name in sorted(surveys) if name.endswith("_x"))
    found += [(stem, f"{stem}_x", f"{stem}_y") for stem in stems if stem and f"{stem}_y" in surveys]
    return [
        each
        for each in found
        if all(surveys[column].numbers and not surveys[column].empty for column in each[1:])
        and not all(surveys[column].binary for column in each[1:])
    ]
