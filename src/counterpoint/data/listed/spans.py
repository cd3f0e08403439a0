"""Spans in seconds, as tables of moments have them: columns of starts, of ends and of the seconds of a clip."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
from jaxtyping import Float16

from ..sources import UNKNOWN
from .surveys import Survey

PLACES = 500
"""Places of a timeline that is made of spans, whatever the seconds of a clip."""
DURATION = "duration"
"""The column with the seconds of a clip."""
UNKNOWN_DURATION = f"the seconds of each clip are not known: give them in a column {DURATION!r}"
"""The reason why starts and ends without a column of durations are no label."""


def span_columns(surveys: Mapping[str, Survey]) -> list[tuple[str, str, str]]:
    """Return the labels that pairs of columns of seconds may be, each with the two.

    ``start`` and ``end`` are the label ``moments``, and beside a column `DURATION` ``NAME_start`` and ``NAME_end`` are
    the label ``NAME``.
    """
    pairs = [("moments", "start", "end")]
    if DURATION in surveys:
        stems = (name.removesuffix("_start") for name in sorted(surveys) if name.endswith("_start"))
        pairs += [(stem, f"{stem}_start", f"{stem}_end") for stem in stems if stem]
    return [
        (name, start, end)
        for name, start, end in pairs
        if name not in surveys and all(it in surveys and _is_of_seconds(surveys[it]) for it in (start, end))
    ]


def _is_of_seconds(survey: Survey) -> bool:
    return not survey.empty and (survey.numbers or (survey.lists and survey.longest is not None))


def span_values(starts: pl.Series, ends: pl.Series, durations: pl.Series) -> Float16[np.ndarray, "n places"]:
    """Return a timeline for each row, 1 at places within one of its spans and 0 at others; NaN of rows without ends.

    A span covers one place at least. Spans that touch each other are one in a timeline.

    Args:
        starts: a number of seconds, or a list of several; null is not known, and an empty list is no span.
        ends: as many.
        durations: the seconds of each clip.

    Raises:
        ValueError: for starts that are not as many as ends, a span that is empty or lies outside its clip, and a clip
            whose seconds are not known.

    >>> it = span_values(pl.Series(["0"]), pl.Series(["2.5"]), pl.Series(["10"]))
    >>> it.shape, int(it.sum())
    ((1, 500), 125)
    """
    values = np.full((len(starts), PLACES), np.nan, np.float16)
    for of_row, *texts in zip(values, starts, ends, durations, strict=True):
        first, last, seconds = map(_numbers, texts)
        if first is None and last is None:
            continue
        if first is None or last is None or len(first) != len(last):
            raise ValueError(f"a row with {_count(first)} starts and {_count(last)} ends")
        if seconds is None or len(seconds) != 1 or not 0 < seconds[0] < math.inf:
            raise ValueError(f"a clip with a span and a duration of {texts[2] or 'nothing'}")
        of_row[:] = 0
        for start, end in zip(first, last, strict=True):
            _check(start, end, seconds[0])
            low, high = (round(PLACES * it / seconds[0]) for it in (start, end))
            low = min(low, PLACES - 1)
            of_row[low : max(high, low + 1)] = 1
    return values


def _check(start: float, end: float, seconds: float) -> None:
    span = f"a span from {start:g} to {end:g} seconds"
    if not start < end:
        raise ValueError(f"{span} is empty")
    if start < 0 or end > seconds:
        raise ValueError(f"{span} lies outside its clip of {seconds:g} seconds")


def _numbers(text: str | None) -> list[float] | None:
    """Return the numbers of a cell, which is one or a list of them; None where nothing is known."""
    if text is None or text.lower() in UNKNOWN:
        return None
    listed: Iterable[float | None] = json.loads(text) if text.startswith("[") else [float(text)]
    numbers = [math.nan if it is None else float(it) for it in listed]
    return None if any(map(math.isnan, numbers)) else numbers


def _count(numbers: list[float] | None) -> str:
    return "no" if numbers is None else f"{len(numbers)}"
