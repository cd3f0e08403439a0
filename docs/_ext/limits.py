"""Methods and losses that equal another one at some value of an option, as the conformance suite proves them.

The names of its cases are read from the sources of the tests, ``"dbl, no weight → hinge"``, which are not imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

_TESTS = Path(__file__).parents[2] / "tests" / "conformance"
_CASES = {"loss_limits.py": "LIMITS", "test_limits.py": "METHODS"}
_CASE = re.compile(r"([\w-]+)((?:, [^→]+)?) → ([\w-]+)((?:, .+)?)")


class Limit(NamedTuple):
    """A method or loss, the condition under which it is another one, and that one with what qualifies it."""

    name: str
    condition: str
    other: str
    qualifier: str


@cache
def limits() -> tuple[Limit, ...]:
    """Return the cases, each once."""
    cases: dict[Limit, None] = {}
    for file, table in _CASES.items():
        for statement in ast.parse((_TESTS / file).read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == table:
                assert isinstance(statement.value, ast.Dict)
                for case in filter(None, map(_CASE.fullmatch, _keys(statement.value))):
                    name, condition, other, qualifier = case.groups()
                    condition, qualifier = condition.removeprefix(", "), qualifier.removeprefix(", ")
                    cases[Limit(name, condition, other, qualifier)] = None
    return tuple(cases)


def _keys(table: ast.Dict) -> Iterator[str]:
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant):
            yield key.value
        elif isinstance(value, ast.DictComp) and isinstance(value.key, ast.JoinedStr):
            first, *parts = value.key.values
            rest = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts)
            loop = value.generators[0].iter
            names = ast.literal_eval(loop) if isinstance(first, ast.FormattedValue) else [first.value]
            # A condition that a comprehension fills in is left out.
            yield from (re.sub(r", [^,→]*{}[^,→]*(?=,| →)", "", name + rest) for name in names)
