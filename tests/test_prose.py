"""The rule of prose: a first line is a sentence with its verb or its noun first."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

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
_VERBS_LIKE_NOUNS = {"Mention", "Position", "Bring", "String", "Silence"}


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the first lines of the docstrings of a file's functions, with where they stand."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef):
            continue
        names = {ast.unparse(each) for each in node.decorator_list}
        text = ast.get_docstring(node)
        if text and not names & {"property", "cached_property"}:
            yield node.body[0].lineno, text.splitlines()[0]


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
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for line, text in functions(path)
        if _NOUN.match(text) and text.split()[0] not in _VERBS_LIKE_NOUNS
    ]
    assert not found, "\n".join(["begin with a verb in the imperative:", *found])


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
