"""Surveys of columns: that of the whole is the sum of those of its parts, and decides the kind that a table has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from counterpoint.data.listed.labels import reading_of
from counterpoint.data.listed.surveys import Survey

COLUMNS = {
    "words": ["a", "b", None, "a", "c"],
    "whole numbers": ["10", "9", "10", None, "3"],
    "numbers": ["1.5", "2", "nan", None, "3"],
    "parts": ["red", "blue", None, "red|?round", "|"],
    "lists": ['["red"]', "[]", '["?round"]', None, '["red", "round"]'],
    "a list among words": ["red", '["blue"]', "green", None, "red"],
    "points": ["[0.5, 0.25]", None, "[0, 1]", "[0.5, 0.25]", "[1, 1]"],
    "lists of numbers": ["[0.5, 0.25]", "[0.5]", None, "[1, 1]", "[1, 2]"],
    "timelines": ["[0, 1, null]", "[1]", None, "[]", "[0.5, 2]"],
    "lists of lists": ["[[0, 1]]", "[1]", None, "[]", "[[2, 3], [4, 5]]"],
    "nothing": [None, None, None, None, None],
    "one": ["a", "a", None, "a", "a"],
}


def said(survey: Survey) -> Any:
    try:
        return reading_of("it", survey)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("cut", range(6))
def test_a_column_in_parts_is_what_it_is_as_a_whole(name: str, cut: int) -> None:
    whole = pl.Series(COLUMNS[name], dtype=pl.String)
    one, other = Survey.of(whole[:cut]), Survey.of(whole[cut:])
    assert said(one + other) == said(other + one) == said(Survey.of(whole))
    assert (one + other).binary == Survey.of(whole).binary


def test_more_values_than_are_counted_are_still_numbers_or_tags() -> None:
    numbers = Survey.of(pl.Series([str(k) for k in range(9)])).within(5)
    texts = Survey.of(pl.Series([f"t{k}" for k in range(9)])).within(5)
    parts = Survey.of(pl.Series([f"t{k}|u|v" for k in range(9)])).within(5)
    assert (numbers.counts, texts.counts, parts.counts) == (None, None, None)
    assert [each.hopeless for each in (numbers, texts, parts)] == [False, True, False]
    assert said(numbers + numbers) == said(Survey.of(pl.Series(["0.5", "1.5"])))  # numbers
    assert said(numbers + texts) == "more than 2,000 values"
    more = parts + Survey.of(pl.Series(["t0"]))
    assert said(more) == replace(said(parts), rare=said(more).rare)
    assert [said(each).rare.examples for each in (parts, more)] == [9, 10]
