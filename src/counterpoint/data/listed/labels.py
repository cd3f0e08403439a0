"""From columns of values to labels: which of them are some, of what kind, and in which order their classes come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from ..labels import MOST_CLASSES, Classes, Label, Numbers, Points, Tags
from ..sources import FOLDER

TEMPLATES = ("{}", "a photo of {}", "a picture of {}")
"""Sentences for the classes of a user's own label."""
SEVERAL = "|"
"""The mark between the tags of a row in a text."""
MOST_TAGS = 2_000
"""Tags of a label, at most."""
NUMBERS = "numbers, not whole or too many for classes"


class Named(NamedTuple):
    """The classes that the values of a column amount to, or why they are none.

    Attributes:
        names: of the classes, numbers in their order; none where the column is no label.
        refused: why it is none, in a few words; empty where it is one.
    """

    names: tuple[str, ...]
    refused: str = ""

    @classmethod
    def of(cls, values: pl.Series, most: int = MOST_CLASSES) -> Named:
        """Return the classes of a column of texts, at most so many; null is no value.

        >>> Named.of(pl.Series(["10", "9", "9"])).names, Named.of(pl.Series(["1.5", "2"])).refused
        (('9', '10'), 'numbers, not whole or too many for classes')
        """
        classes = values.drop_nulls().unique()
        numbers = classes.cast(pl.Float64, strict=False)
        numeric = numbers.null_count() == 0
        if numeric and (len(classes) > most or not (numbers == numbers.round()).all()):
            return cls((), NUMBERS)
        if not 2 <= len(classes) <= most:
            return cls((), f"{len(classes):,} value{'' if len(classes) == 1 else 's'}")
        ordered = classes.to_frame("name").with_columns(number=numbers).sort("number", "name")
        return cls(tuple(ordered["name"]))


def labels_of(columns: Mapping[str, pl.Series]) -> tuple[dict[str, Label], dict[str, str]]:
    """Return the labels that columns of texts are, and why other columns are none; null is no value.

    ===========  ===================================================================================================
    classes      2 to `MOST_CLASSES` values; of `FOLDER` any number
    tags         lists of texts, ``["red", "round"]``, or texts with `SEVERAL` between them, ``red|round``; alone it
                 stands for no tag, and before a tag of which it is not known whether it applies stands `UNSURE`
    numbers      of which some are not whole, or more than `MOST_CLASSES`; NaN is no value
    points       lists of two numbers, or two columns ``x`` and ``y`` (the label ``point``), ``NAME_x`` and ``NAME_y``
                 (the label ``NAME``); shares of width and height
    ===========  ===================================================================================================

    >>> labels, refused = labels_of({"look": pl.Series(["red|round", "red"]), "only": pl.Series(["a", "a"])})
    >>> labels["look"].names, refused
    (('red', 'round'), {'only': '1 value'})
    """
    labels: dict[str, Label] = {}
    refused: dict[str, str] = {}
    for name, values in sorted(columns.items()):
        try:
            labels[name] = _label(name, values)
        except ValueError as error:
            refused[name] = str(error)
    for name, x, y in _pairs(columns):
        both = np.stack([_numbers(columns[x]), _numbers(columns[y])], axis=1)
        if not (both == both.round()).all() or (both > 1).any():  # 0 and 1 are classes
            try:
                labels[name] = Points(both)
                for column in (x, y):
                    labels.pop(column, None)
            except ValueError as error:
                refused[name] = str(error)
    return dict(sorted(labels.items())), refused


def told(refused: Mapping[str, str]) -> dict[str, str]:
    """Return a title and a line on columns that are no labels; nothing where all are."""
    if not refused:
        return {}
    said = ", ".join(f"{name} ({why})" for name, why in refused.items())
    return {"columns that are no labels": f"{said}; a label has 2 to {MOST_CLASSES} values"}


def is_several(values: pl.Series) -> bool:
    """Return whether texts are lists, or have several parts, so that they are no classes."""
    known = values.drop_nulls()
    return bool(len(known)) and (_lists(known) is not None or known.str.contains(SEVERAL, literal=True).any())


def _label(name: str, values: pl.Series) -> Label:
    """Return the label that a column of texts is; ValueError says why it is none."""
    if is_several(values):
        return _listed(values)
    known = values.drop_nulls()
    if len(known) and known.str.to_lowercase().is_in(["nan"]).all():
        return Numbers(_numbers(values))  # which says that there are none
    names, why = Named.of(known, len(known) if name == FOLDER else MOST_CLASSES)
    if why == NUMBERS:
        return Numbers(_numbers(values))
    if name == FOLDER and known.n_unique() == 1:
        why = f"one class in all, {known[0]}: give each kind a folder of its own"
    elif name == FOLDER and len(single := known.filter(known.is_unique()).sort()):
        why = f"of the class {single[0]} there is one example: add others, or leave it out"
    if why:
        raise ValueError(why)
    codes = values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64)
    return Classes(names, codes.fill_null(-1).to_numpy(), TEMPLATES)


def _listed(values: pl.Series) -> Label:
    """Return the label that a column of lists is: points where each is of two numbers, else tags."""
    known = values.is_not_null().to_numpy()
    lists = _lists(values.drop_nulls())
    if lists is None:
        lists = [
            [tag for part in text.split(SEVERAL) if (tag := part.strip())] for text in values.drop_nulls()
        ]
    if all(len(each) == 2 and all(map(_is_number, each)) for each in lists):
        points = np.full((len(values), 2), np.nan)
        points[known] = np.array(lists, dtype=np.float64)
        return Points(points)
    if not all(isinstance(tag, str) for each in lists for tag in each):
        raise ValueError("lists that hold neither tags nor two numbers")
    if len(names := {tag for each in lists for tag in each}) > MOST_TAGS:
        raise ValueError(f"{len(names):,} tags; there are at most {MOST_TAGS:,}")
    rows = iter(lists)
    return Tags.of(next(rows) if has else None for has in known)


def _lists(known: pl.Series) -> list[list[Any]] | None:
    """Return the lists that texts are, as JSON has them; None where one is no list."""
    if not known.str.starts_with("[").all():
        return None
    try:
        lists = [json.loads(text) for text in known]
    except ValueError:
        return None
    return lists if all(isinstance(each, list) for each in lists) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numeric(values: pl.Series) -> bool:
    """Return whether all values that there are are numbers."""
    return (
        len(values.drop_nulls()) > 0
        and values.cast(pl.Float64, strict=False).null_count() == values.null_count()
    )


def _pairs(columns: Mapping[str, pl.Series]) -> Sequence[tuple[str, str, str]]:
    """Return the labels of points that pairs of columns may be, each with the two."""
    found = [("point", "x", "y")] if columns.keys() >= {"x", "y"} else []
    stems = (name.removesuffix("_x") for name in sorted(columns) if name.endswith("_x"))
    found += [(stem, f"{stem}_x", f"{stem}_y") for stem in stems if stem and f"{stem}_y" in columns]
    return [each for each in found if all(_numeric(columns[column]) for column in each[1:])]


def _numbers(values: pl.Series) -> Float[np.ndarray, " N"]:
    """Return a column of texts as numbers, NaN where there is none."""
    return values.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
