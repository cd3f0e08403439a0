"""From a column of values to classes: when it is a label, and in which order its classes come."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from ..base import Labels

MOST_CLASSES = 200
"""Values of a column that is a label, at most; the fewest are two."""
TEMPLATES = ("{}", "a photo of {}", "a picture of {}")
"""Sentences for the classes of a user's own label."""


class Classes(NamedTuple):
    """Classes that the values of a column amount to, or why they are none.

    Attributes:
        names: of the classes, numbers in their order; none where the column is no label.
        refused: why it is none, in a few words; empty where it is one.
    """

    names: tuple[str, ...]
    refused: str = ""

    @classmethod
    def of(cls, values: pl.Series) -> Classes:
        """Return the classes of a column of texts; null is no value.

        >>> Classes.of(pl.Series(["10", "9", "9"])).names, Classes.of(pl.Series(["1.5", "2"])).refused
        (('9', '10'), 'numbers that are not whole')
        """
        classes = values.drop_nulls().unique()
        numbers = classes.cast(pl.Float64, strict=False)
        numeric = numbers.null_count() == 0
        if numeric and not (numbers == numbers.round()).all():
            return cls((), "numbers that are not whole")
        if not 2 <= len(classes) <= MOST_CLASSES:
            return cls((), f"{len(classes):,} value{'' if len(classes) == 1 else 's'}")
        ordered = classes.to_frame("name").with_columns(number=numbers).sort("number", "name")
        return cls(tuple(ordered["name"]))


def labels_of(columns: dict[str, pl.Series]) -> tuple[dict[str, Labels], dict[str, str]]:
    """Return the ways to classify, and why other columns are none."""
    labels, refused = {}, {}
    for name, values in sorted(columns.items()):
        names, why = Classes.of(values)
        if why:
            refused[name] = why
        else:
            codes = values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64)
            labels[name] = Labels(names, codes.fill_null(-1).to_numpy(), TEMPLATES)
    if not refused:
        return labels, {}
    said = ", ".join(f"{name} ({why})" for name, why in refused.items())
    return labels, {"columns that are no labels": f"{said}; a label has 2 to {MOST_CLASSES} values"}
