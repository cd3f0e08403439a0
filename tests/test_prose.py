"""The rule of prose: a first line is a sentence with its verb or its noun first."""

from __future__ import annotations

import ast
import re
from collections import deque
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
HEADLESS = re.compile(r"(What|How|Whether|Which|Where|Of|Who|Whose|That|Those|As many)\b")


_NOUN = re.compile(
    r"(The|An?|Each|Every|One|Two|Some|All|Only|Both|Its|Their|No|Another|Other|Small|New|Whole)\b"
    r"|[^A-Z]"  # a formula, a name
    r"|[A-Z](\b|[A-Z0-9])"  # a symbol, an abbreviation
    r"|\w*[a-z](?<!s)s\b"  # a plural, or a verb that is not in the imperative
    r"|\w+(ment|ness|ity|ance|ence|[^n]tion|ing)\b"
    r"|\w+[:,]"
)
_OPEN_PLURAL = re.compile(r"[a-z]{3}\(s\)")
_VERBS_LIKE_NOUNS = {"Mention", "Position", "Bring", "String", "Silence"}


class FirstLine(NamedTuple):
    line: int
    text: str
    of_function: bool


@cache
def first_lines(path: Path) -> list[FirstLine]:
    """Return the first lines of a file's docstrings, of things and of constants, with where they stand."""
    found, waiting = [], deque[ast.AST]([ast.parse(path.read_text(encoding="utf-8"))])
    while waiting:
        node = waiting.popleft()
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):  # expressions hold no docstrings
            waiting.extend(getattr(node, part, []))
        for statement in getattr(node, "body", []):
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value.strip():
                of_function = (
                    isinstance(node, ast.FunctionDef) and statement is node.body[0] and not _read(node)
                )
                found.append(FirstLine(statement.lineno, value.value.strip().splitlines()[0], of_function))
    return found


def _read(function: ast.FunctionDef) -> bool:
    """Tell whether a function is read as an attribute is."""
    return bool({ast.unparse(each) for each in function.decorator_list} & {"property", "cached_property"})


def test_no_first_line_is_headless() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{first.line}: {first.text}"
        for room in ("src", "tests", "benchmarks", "examples", "scripts")
        for path in sorted((ROOT / room).rglob("*.py"))
        for first in first_lines(path)
        if HEADLESS.match(first.text)
    ]
    assert not found, "\n".join(["begin with a verb (a function) or a noun (anything else):", *found])


def test_no_paragraph_of_the_documentation_is_headless() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "concepts").glob("*.md")]
    found = [
        f"{page.relative_to(ROOT)}: {paragraph.splitlines()[0]}"
        for page in sorted(pages)
        for paragraph in page.read_text(encoding="utf-8").split("\n\n")
        if HEADLESS.match(paragraph)
    ]
    assert not found, "\n".join(["begin with the noun that is spoken of:", *found])


def test_a_function_begins_with_a_verb() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{first.line}: {first.text}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for first in first_lines(path)
        if first.of_function and _NOUN.match(first.text) and first.text.split()[0] not in _VERBS_LIKE_NOUNS
    ]
    assert not found, "\n".join(["begin with a verb in the imperative:", *found])


def test_no_message_leaves_a_plural_open() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{part.lineno}"
        for path in (ROOT / "src").rglob("*.py")
        for text in [path.read_text(encoding="utf-8")]
        if _OPEN_PLURAL.search(text)
        for message in ast.walk(ast.parse(text))
        if isinstance(message, ast.JoinedStr)
        for part in message.values
        if isinstance(part, ast.Constant) and _OPEN_PLURAL.search(str(part.value))
    ]
    assert not found
