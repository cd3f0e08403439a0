"""Identifiers that do not say what they name are refused; ruff and codespell check docstrings and spelling."""

from __future__ import annotations

import ast
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"
REFUSED = {
    "there",
    "found",
    "kept",
    "told",
    "heard",
    "beside",
    "whoever",
    "look",
    "looks",
    "place",
    "places",
    "gone",
}


def names(node: ast.AST) -> list[str]:
    """Return the names that a node gives to a parameter, an attribute, a function or a class."""
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    target = node.target if isinstance(node, ast.AnnAssign) else None
    return [target.id] if isinstance(target, ast.Name) else []


def test_no_new_name_is_a_refused_word() -> None:
    refused = [
        f"{path.relative_to(SRC)}:{node.lineno}: {name}"  # type: ignore[attr-defined] # such nodes have lines
        for path in sorted(SRC.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in names(node)
        if name.strip("_") in REFUSED
    ] + [str(path.relative_to(SRC)) for path in SRC.rglob("*.py") if path.stem.strip("_") in REFUSED]
    assert not refused, "\n".join(["rename:", *refused])
