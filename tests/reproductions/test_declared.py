"""Declarations of claims: every deciding part that depends on chance says how small an effect would matter."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

from counterpoint_reproductions import CLAIMS
from fixtures.without_chance import WITHOUT_CHANCE


def declares(slug: str) -> bool:
    """Return whether a claim's file imports `effects`; it is read and not imported, which takes seconds for all.

    `Evidence` refuses a claim of which only some deciding parts declare, and the smoke runs in
    ``tests/conformance/test_claims.py`` compare the results themselves with the list.
    """
    spec = find_spec(CLAIMS.reference(slug).partition(":")[0])
    assert spec is not None
    assert spec.origin is not None
    nodes = ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return any(alias.name == "effects" for n in nodes if isinstance(n, ast.ImportFrom) for alias in n.names)


def test_every_claim_declares_its_effects(subtests: pytest.Subtests) -> None:
    for slug in CLAIMS.names():
        with subtests.test(slug):
            assert declares(slug) != (slug in WITHOUT_CHANCE), (
                f"{slug}: give each deciding part a delta, a margin or a level with its source"
            )
