"""Conditions on rows, as SQL: read, refused where they are more than a condition, and applied."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Bool

from ...registry import unknown

_TEXT, _NUMBER = r"'(?:[^']|'')*'", r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"""(?P<text>{_TEXT})|(?P<quoted>"[^"]+"|`[^`]+`)|(?P<word>[^\W\d]\w*)|(?P<number>{_NUMBER})|"""
    r"(?P<other>\s+|--|/\*|.)",
    re.DOTALL,
)
_VALUE = rf"\s*[+-]?(?:{_TEXT}|{_NUMBER})\s*"
_LIST = re.compile(rf"\s*\({_VALUE}(?:,{_VALUE})*\)")
_JOINING = ("and", "or", "not", "in", "is", "null", "like", "ilike", "between", "escape", "distinct", "from")
_WORDS = frozenset((*_JOINING, "true", "false", "case", "when", "then", "else", "end"))
"""Words of a condition; ``from`` stands in IS DISTINCT FROM."""
_FUNCTIONS = frozenset(
    ("lower", "upper", "length", "trim", "abs", "round", "coalesce", "nullif", "starts_with", "ends_with")
)
"""Functions of single rows that polars and LanceDB have under one name."""
_MARKS = (";", "--", "/*")
_OPERATORS = frozenset("=<>!+-*/%|&^~")
_DEEPER = frozenset(("and", "or", "not", "is", "in", "like", "ilike", "between", "when"))
"""Words that put what stands before them a level deeper, as operators do."""
_MOST = 200  # of these and operators: deep expressions end a process, as polars and LanceDB recur on them
_COPYING = ("between", "nullif")
"""Words for which polars takes what stands before them twice: nested, the expression doubles with each."""
_MOST_COPYING = 10
_MOST_CHARACTERS = 100_000
_LONGEST = 200  # characters of a condition that a message quotes
_QUOTES = ("'", '"', "`")


def condition(where: str, table: pl.DataFrame) -> str:
    """Return a condition with every column quoted, so that each reader of SQL takes it for the same.

    It may use columns, texts in single quotes, numbers, comparisons, AND, OR, NOT, IN with a list of texts and
    numbers, LIKE, BETWEEN, IS NULL, CASE WHEN, and the functions lower, upper, length, trim, abs, round, coalesce,
    nullif, starts_with and ends_with.

    Args:
        where: as the user wrote it.
        table: whose columns it is on.

    Raises:
        UnknownNameError: for a column that the table does not have.
        ValueError: for what is no SQL, or more than a condition on single rows.

    >>> condition("split = 'train' AND length(text) > 3", pl.DataFrame({"split": ["train"], "text": ["a cat"]}))
    '"split" = \\'train\\' AND length("text") > 3'
    """
    if not where.strip():
        raise ValueError("the condition is empty: write one such as split = 'train', or leave it out")
    if len(where) > _MOST_CHARACTERS:
        raise ValueError(
            f"{_shown(where)} is too long: a condition has at most {_MOST_CHARACTERS:,} characters"
        )
    matches = [*_TOKEN.finditer(where)]
    tokens = [(match.lastgroup or "", match[0]) for match in matches]
    words = [token.lower() for kind, token in tokens if kind == "word"]
    signs = sum(token in _OPERATORS for _, token in tokens)
    if signs + sum(word in _DEEPER for word in words) > _MOST:
        raise ValueError(
            f"{_shown(where)} is too long: a condition has at most {_MOST} operators, AND, OR and their like"
        )
    if sum(word in _COPYING for word in words) > _MOST_COPYING:
        raise ValueError(
            f"{_shown(where)} has more than {_MOST_COPYING} of BETWEEN and nullif: write >= and <= instead"
        )
    parts = []
    for index, (kind, token) in enumerate(tokens):
        if token in _QUOTES:
            raise ValueError(f"{_shown(where)} is no SQL condition: a quote is not closed")
        if token in _MARKS:
            raise ValueError(f"{_shown(where)} is more than a condition: {token!r} has no place in it")
        if kind == "quoted":
            parts.append(_column(token[1:-1], where, table))
        elif kind == "word" and token.lower() in _WORDS:
            parts.append(token)
        elif kind == "word" and _after(tokens, index) == "(":
            if token.lower() not in _FUNCTIONS:
                raise ValueError(
                    f"{_shown(where)} calls {token}: a condition may use the functions {', '.join(sorted(_FUNCTIONS))}"
                )
            parts.append(token)
        elif kind == "word" and token.lower() in ("select", "with", "over", "exists", "as"):
            raise ValueError(f"{_shown(where)} is more than a condition: {token} has no place in it")
        elif kind == "word":
            parts.append(_column(token, where, table))
        elif kind == "other" and not (token.isspace() or token in _OPERATORS or token in "(),"):
            raise ValueError(f"{_shown(where)} is no SQL condition: {token!r} has no place in it")
        else:
            parts.append(token)
    for index, (kind, token) in enumerate(tokens):
        if kind != "word":
            continue
        if token.lower() == "in" and not _LIST.match(where, matches[index].end()):
            raise ValueError(
                f"{_shown(where)} is no SQL condition: IN takes a list of texts and numbers, as ('a', 'b')"
            )
        if token.lower() == "case" and _after(tokens, index).lower() != "when":
            raise ValueError(f"{_shown(where)} is no SQL condition: CASE is followed by WHEN and a condition")
    whole = "".join(parts)
    rows(whole, table.head(1))
    return whole


def rows(whole: str, table: pl.DataFrame) -> Bool[np.ndarray, " n"]:
    """Return for which rows of a table a condition holds; where it is null, it does not.

    Raises:
        ValueError: for what is no SQL, or no condition.
    """
    try:
        values = table.select(pl.sql_expr(whole).alias("chosen"))["chosen"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        why = str(error).splitlines()[0][:_LONGEST]
        raise ValueError(f"{_shown(whole)} is no SQL condition: {why}") from None
    if values.dtype != pl.Boolean:
        raise ValueError(f"{_shown(whole)} is no condition, which is true or false: it gives {values.dtype}")
    return np.broadcast_to(values.fill_null(False).to_numpy(), len(table))


def _after(tokens: Sequence[tuple[str, str]], index: int) -> str:
    """Return the next token that is no space; nothing behind the last."""
    after = (tokens[later][1] for later in range(index + 1, len(tokens)))
    return next((text for text in after if not text.isspace()), "")


def _shown(text: str) -> str:
    """Return a condition as messages quote it."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def _column(name: str, where: str, table: pl.DataFrame) -> str:
    """Return a column's name in quotes."""
    if name in table.columns:
        return '"' + name.replace('"', '""') + '"'
    error = unknown("column", name, table.columns)
    if f'"{name}"' in where or re.search(rf"[=(,]\s*{re.escape(name)}\b", where):  # meant as a text
        raise type(error)(f"{error}; a text stands in single quotes: '{name}'")
    raise error
