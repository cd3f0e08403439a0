"""Digests of source texts, which show whether definitions have changed."""

from __future__ import annotations

import ast
import hashlib
import json
from typing import Any


def digest(source: str) -> str:
    """Return a digest of a Python source text that comments, docstrings and layout do not change.

    >>> digest("x = 1  # one") == digest("'About x.'; x = (1)")
    True
    >>> digest("x = 1") == digest("x = 2")
    False
    """
    return hashlib.sha256(json.dumps(_plain(ast.parse(source))).encode()).hexdigest()[:16]


def _plain(node: Any) -> Any:
    """Return a syntax tree as lists, without docstrings and empty fields, which differ between versions of Python."""
    if isinstance(node, list):
        return [_plain(one) for one in node if not _is_docstring(one)]
    if isinstance(node, ast.AST):
        fields = [[name, _plain(value)] for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *fields]
    return repr(node)


def _is_docstring(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
