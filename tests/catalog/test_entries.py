from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from counterpoint import catalog
from counterpoint.catalog import entries
from counterpoint.registry import UnknownNameError


def test_all_189_papers_are_there_once_and_sorted() -> None:
    slugs = [paper.slug for paper in catalog.papers()]
    assert len(slugs) == 189
    assert slugs == sorted(set(slugs))
    assert len({paper.arxiv for paper in catalog.papers()}) == 189
    assert len({paper.title for paper in catalog.papers()}) == 189


def test_counts_per_family_are_those_of_the_survey() -> None:
    assert Counter(paper.family for paper in catalog.papers()) == {
        "adaptation": 9,
        "analysis": 14,
        "captioning": 4,
        "clustering": 4,
        "data": 4,
        "decoding": 10,
        "dense": 9,
        "evaluation": 14,
        "experts": 5,
        "fusion": 14,
        "generation": 7,
        "lmm": 19,
        "masked": 4,
        "noncontrastive": 4,
        "pairwise": 47,
        "preference": 6,
        "supervised": 15,
    }
    assert {paper.family for paper in catalog.papers()} == set(catalog.FAMILIES)
    assert {paper.kind for paper in catalog.papers()} == set(catalog.KINDS)


def test_entry_is_well_formed(subtests: pytest.Subtests) -> None:
    for paper in catalog.papers():
        with subtests.test(paper.slug):
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", paper.slug)
            assert re.fullmatch(r"\d{4}\.\d{4,5}", paper.arxiv)
            assert paper.url.endswith(paper.arxiv)
            # arXiv's numbers begin with the year; the stated year may be the publication's, a year or so later
            assert -1 <= paper.year - (2000 + int(paper.arxiv[:2])) <= 1
            assert paper.modalities
            assert all(re.fullmatch(r"[a-z0-9-]+", modality) for modality in paper.modalities)
            assert len(re.findall(r"[.!?](?: |$)", paper.summary)) in (1, 2)
            assert len(paper.summary.split()) <= 60


def test_one_paper_and_an_unknown_one() -> None:
    paper = catalog.paper("multiberts")
    assert (paper.year, paper.arxiv, paper.family, paper.kind) == (
        2021,
        "2106.16163",
        "evaluation",
        "analysis",
    )
    with pytest.raises(UnknownNameError, match="did you mean 'clip-rocket'"):
        catalog.paper("clip-roket")


def test_a_paper_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        catalog.paper("siglip").year = 1999  # type: ignore[misc] # that it is refused is the test


def test_find_combines_its_conditions() -> None:
    pairwise = catalog.find(family="pairwise")
    assert {paper.family for paper in pairwise} == {"pairwise"}
    both = catalog.find(family="pairwise", kind="objective")
    assert set(both) == {paper for paper in pairwise if paper.kind == "objective"}
    assert catalog.find() == catalog.papers()
    assert [paper.slug for paper in catalog.find(text="MULTI-bootstrap seeds")] == ["multiberts"]
    assert catalog.find(text="multi-bootstrap no-such-word") == ()
    every_status = [paper for status in catalog.STATUSES for paper in catalog.find(status=status)]
    assert sorted(paper.slug for paper in every_status) == [paper.slug for paper in catalog.papers()]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"family": "pairwisse"}, "unknown family 'pairwisse': did you mean 'pairwise'"),
        ({"kind": "objectives"}, "unknown kind 'objectives': did you mean 'objective'"),
        ({"status": "verfied"}, "unknown status 'verfied': did you mean 'verified'"),
    ],
)
def test_find_names_the_nearest(condition: dict[str, str], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        catalog.find(**condition)


def test_status_follows_symbols_and_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "evidence_folder", lambda: tmp_path)
    planned = replace(catalog.paper("vcd"), symbols=())
    implemented = replace(planned, symbols=("json:JSONEncoder",))
    assert (planned.status, implemented.status) == ("planned", "implemented")
    assert implemented.evidence is None

    found = {"name": "n", "metric": "m", "expected": "above", "estimate": 0.2, "high": 0.3, "n_seeds": 5}
    facts = {"slug": "vcd", "claim": "c", "command": "x", "date": "2025-01-01", "machine": {"cores": 2}}
    for low, status in ((0.1, "verified"), (-0.1, "implemented")):
        content = facts | {"seconds": 1, "results": [found | {"low": low}]}
        (tmp_path / "vcd.json").write_text(json.dumps(content))
        assert implemented.evidence == tmp_path / "vcd.json"
        assert implemented.status == status
        assert planned.status == "planned"


def test_implemented_yaml_may_only_name_known_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    read = entries._read
    recipes = {"siglp": {"recipe": "cpu"}}
    with monkeypatch.context() as patch:
        patch.setattr(entries, "_read", lambda name: recipes if name == "implemented.yaml" else read(name))
        with pytest.raises(UnknownNameError, match=r"implemented\.yaml 'siglp': did you mean 'siglip'"):
            entries._papers.__wrapped__()
    monkeypatch.setattr(entries, "declared", lambda: {"siglp": ("json:JSONEncoder",)})
    with pytest.raises(UnknownNameError, match=r"json:JSONEncoder 'siglp': did you mean 'siglip'"):
        entries._papers.__wrapped__()


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, counterpoint.catalog as c; len(c.papers()); c.find(text='clip')\n"
        "import counterpoint.catalog.evidence, counterpoint.catalog.render\n"
        "print([m for m in ('torch', 'numpy', 'polars', 'transformers', 'datasets') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
