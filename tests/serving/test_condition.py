"""Conditions are SQL on single rows: each is read as it stands, or refused in one line, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.serving import index
from counterpoint.serving.indexing import condition
from fixtures.vectors_folder import unit_vectors, write_vectors

TABLE = pl.DataFrame(
    {
        "id": [1, 2, 3],
        "split": ["train", "test", None],
        "a label": ["x", "y", "it's"],
        '5" wide': ["a", "b", "c"],
    }
)


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ("split = 'train'", [True, False, False]),
        ("split != 'train'", [False, True, False]),
        ("split <> 'train' OR split IS NULL", [False, True, True]),
        ("NOT (id > 1)", [True, False, False]),
        ("id BETWEEN 2 AND 3", [False, True, True]),
        ("id IN (1, 3)", [True, False, True]),
        ("id NOT IN (1, 3)", [False, True, False]),
        ("id IN(-1,+2 , 3.0)", [False, True, True]),
        ("split IN ('it''s', 'test')", [False, True, False]),
        ("id < 2e0 OR id >= .3E1", [True, False, True]),
        ("id * 2 - 1 = 5", [False, False, True]),
        ("\"a label\" = 'it''s'", [False, False, True]),
        ("`a label` = 'x'", [True, False, False]),
        ("`5\" wide` = 'b'", [False, True, False]),
        ("split LIKE 't%n'", [True, False, False]),
        ("split ILIKE 'TE_T'", [False, True, False]),
        ("upper(split) = 'TEST'", [False, True, False]),
        ("coalesce(split, 'none') = 'none'", [False, False, True]),
        ("CASE WHEN id = 1 THEN true ELSE false END", [True, False, False]),
        ("split = 'SELECT; -- '", [False, False, False]),
        ("true", [True, True, True]),
        ("\n split\n=\t'train' ", [True, False, False]),
        ("id IN (" + ", ".join(map(str, range(2, 10_000))) + ")", [False, True, True]),
    ],
)
def test_what_holds(where: str, holds: list[bool]) -> None:
    assert condition.rows(condition.condition(where, TABLE), TABLE).tolist() == holds


@pytest.mark.parametrize(
    "where",
    [
        "id = 1" + " OR id = 2" * 9000,
        "id" + " + 1" * 20_000 + " = 3",
        "NOT " * 9000 + "true",
        "(" * 9000,
        "a" * 200_000,
        "id" + " IS NULL" * 5000,
        "split" + " LIKE 'a'" * 5000,
        "CASE" + " WHEN id = 1 THEN true" * 5000 + " END",
        "id" + " BETWEEN 1 AND 2" * 50,
        "nullif(" * 40 + "id" + ", 1)" * 40 + " = 1",
        "id IN (" + ", ".join(["id"] * 5000) + ")",
        "(" * 15 + "id" + " IN (1, id, 3))" * 15,
        "CASE " * 40 + "id" + " WHEN 1 THEN 2 WHEN 2 THEN 1 END" * 40 + " = 1",
        "split" + "[1]" * 5000 + " = 'a'",
    ],
    ids=[
        *("or", "plus", "not", "parentheses", "long", "is", "like", "when", "between", "nullif"),
        *("columns in a list", "lists of columns", "cases", "brackets"),
    ],
)
def test_what_would_end_the_process_or_last_for_ever_is_refused(where: str) -> None:
    with pytest.raises(
        ValueError, match=r"is too long: a condition has at most|is no SQL condition|has more than 10 of"
    ) as error:
        condition.condition(where, TABLE)
    assert len(str(error.value)) < 600


def test_the_longest_condition_is_read_by_every_kind(tmp_path: Path) -> None:
    write_vectors(tmp_path / "vectors")
    where = "id = 101" + " OR id = 102" * 99
    for kind in ("exact", "lancedb"):
        made = index(tmp_path / "vectors", tmp_path / kind, kind=kind)
        found = made.nearest(unit_vectors(1, 4, 0), 20, where=where)[0]
        assert sorted(found.rows["id"]) == [101, 101, 102, 102]


WORDS = "id split x NULL AND OR NOT IN IS LIKE BETWEEN CASE WHEN THEN END SELECT ANY ARRAY lower( abs( round( ::int"
SIGNS = "1 2.5 0 = < > ( ) , ' 'x' [1] . - * / % || ~ :: ; -- @ $1 {} é"
PIECES = st.sampled_from([*WORDS.split(" "), *SIGNS.split(" "), '"a label"', "\\", "\n", "\0"])


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=12))
def test_anything_is_a_condition_or_refused_in_one_line(pieces: list[str]) -> None:
    where = " ".join(pieces)
    refusal, found = "", None
    try:
        found = condition.rows(condition.condition(where, TABLE), TABLE)
    except ValueError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert bool(refusal) == (found is None)
