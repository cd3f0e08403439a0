"""The rule of prose: a first line is a sentence with its verb or its noun first."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADLESS = re.compile(r"(What|How|Whether|Which|Where|Of|Who|Whose|That|Those|As many)\b")


def first_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the first lines of a file's docstrings, of things and of constants, with where they stand."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value.strip():
                yield statement.lineno, value.value.strip().splitlines()[0]


def test_no_first_line_is_headless() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for room in ("src", "tests", "benchmarks", "examples", "scripts")
        for path in sorted((ROOT / room).rglob("*.py"))
        for line, text in first_lines(path)
        if HEADLESS.match(text)
    ]
    assert not found, "\n".join(["begin with a verb (a function) or a noun (anything else):", *found])


def test_no_message_leaves_a_plural_open() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{part.lineno}"
        for path in (ROOT / "src").rglob("*.py")
        for message in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(message, ast.JoinedStr)
        for part in message.values
        if isinstance(part, ast.Constant) and re.search(r"[a-z]{3}\(s\)", str(part.value))
    ]
    assert not found
