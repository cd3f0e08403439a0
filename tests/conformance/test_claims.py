"""Properties that must hold of every claim: it says what would refute it, its smoke run ends, and something decides."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import pytest

from counterpoint import catalog
from counterpoint.catalog.evidence import Evidence
from counterpoint.evaluation import classifiers
from counterpoint_reproductions import CLAIMS, reproduce
from counterpoint_reproductions._registry import module
from counterpoint_reproductions.lab import quick, score
from fixtures.without_chance import WITHOUT_CHANCE


def of_each_room() -> list[object]:
    """Return all claims; the first of every room that trains no study is quick to check, the others are slow."""
    seen: set[str] = set()
    cases: list[object] = []
    for slug in CLAIMS.names():
        name = CLAIMS.reference(slug).split(":")[0]
        room, spec = name.rpartition(".")[0], find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        # Read and not imported: whoever collects tests would wait for all claims.
        quick = room not in seen and "Comparison(" not in Path(spec.origin).read_text(encoding="utf-8")
        cases.append(pytest.param(slug, marks=[] if quick else [pytest.mark.slow]))
        if quick:
            seen.add(room)
    return cases


def test_the_catalog_names_the_same_claims() -> None:
    assert {paper.slug for paper in catalog.papers() if paper.claim} == set(CLAIMS.names())


def test_it_says_what_is_claimed_and_what_would_refute_it(subtests: pytest.Subtests) -> None:
    for slug in CLAIMS.names():
        with subtests.test(slug):
            claim = module(slug)
            assert catalog.paper(slug).claim == CLAIMS.reference(slug)
            assert claim.__doc__
            assert claim.CLAIM.endswith(".")
            assert claim.REFUTED
            assert not claim.REFUTED.endswith(".")  # it ends the sentence "Refuted if …."


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize("slug", of_each_room())
def test_its_smoke_run_goes_whole_way_from_training_to_evidence(
    slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # One seed and few resamples go the same way as two and thousands, in a third of the time.
    monkeypatch.setattr(quick, "SEEDS", 1)
    monkeypatch.setattr(score, "RESAMPLES", 50)
    monkeypatch.setattr(score, "TAIL", 1)
    # A probe shows here that it is asked, whatever it learns; one claim is about how fast it learns.
    if slug != "naive-bayes-linear-eval":
        monkeypatch.setattr(classifiers, "ITERATIONS", 10)
    evidence = reproduce(slug, quick=True)
    assert not list(tmp_path.iterdir())
    assert evidence.quick
    assert evidence.verdict == "inconclusive"
    assert evidence.command == f"counterpoint reproduce {slug} --quick"
    names = [(result.name, result.metric) for result in evidence.results]
    assert len(set(names)) == len(names)
    deciding = [result for result in evidence.results if result.decides]
    assert deciding
    for result in deciding:
        assert result.estimate is not None
        assert math.isfinite(result.estimate)
    assert (evidence.parts == 0) == (slug in WITHOUT_CHANCE)
    undeclared = [result.name for result in deciding if result.chance and result.role is None]
    assert not undeclared
    for result in evidence.results:
        # Two seeds carry no verdict; what counts worlds or has no chance in it may.
        assert result.verdict == "inconclusive" or result.n_seeds is None or result.n_seeds > 2
    path = tmp_path / f"{slug}.json"
    evidence.write(path)
    assert Evidence.read(path) == evidence
