"""Every claim's smoke run: the whole way from training to evidence, in seconds."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from counterpoint.catalog.evidence import Evidence
from counterpoint.claims import CLAIMS, reproduce

SLUGS = CLAIMS.names()


@pytest.mark.parametrize("slug", SLUGS)
def test_quick(slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    evidence = reproduce(slug, quick=True)
    assert not list(tmp_path.iterdir())
    assert evidence.quick
    assert evidence.verdict == "inconclusive"
    assert evidence.command == f"counterpoint reproduce {slug} --quick"
    names = [(result.name, result.metric) for result in evidence.results]
    assert len(set(names)) == len(names)
    for result in evidence.results:
        # Two seeds carry no verdict; what counts worlds or has no chance in it may.
        assert result.verdict == "inconclusive" or result.n_seeds is None or result.n_seeds > 2
        if result.decides:
            assert result.estimate is not None
            assert math.isfinite(result.estimate)
    path = tmp_path / f"{slug}.json"
    evidence.write(path)
    assert Evidence.read(path) == evidence
