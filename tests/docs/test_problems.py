"""The table of problems: each with its arms, an answer that follows from evidence, and what was measured."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from counterpoint.catalog.evidence import Evidence
from counterpoint.methods import METHODS, Arm
from counterpoint.study.presets import PRESETS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    import problems

    return problems


def with_verdict(table: Any, monkeypatch: pytest.MonkeyPatch, slug: str, verdict: str) -> None:
    """Make evidence of a paper say so; that of all others is as it is."""

    def read(path: Path) -> Any:
        return SimpleNamespace(verdict=verdict) if path.stem == slug else Evidence.read(path)

    monkeypatch.setattr(table, "Evidence", SimpleNamespace(read=read))


def test_every_problem_has_arms_an_answer_and_what_was_measured(table: Any) -> None:
    place = table.PLACE.search("<!-- problems -->")
    head, _, *rows = table.problems(place).splitlines()
    assert head == "| problem, command and arms | answer | measured here |"
    assert len(rows) == len(PRESETS)
    for row, preset in zip(rows, PRESETS.values(), strict=True):
        answer, measured = re.split(r" (?<!\\)\| ", row)[1:]
        assert answer == table.answer(preset)
        assert answer == "open" or all(arm in preset.arms for arm in re.findall("`([^`]+)`", answer))
        # Baselines that adapt a frozen pair are of no paper of the catalog.
        baselines = all(getattr(METHODS.get(Arm.parse(arm).method), "names", False) for arm in preset.arms)
        assert (measured == "– |") == baselines, preset.name


def test_the_answer_follows_the_verdict(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gaps = PRESETS["gaps"]
    for verdict, answer in (
        ("reproduced", "take `multimodn`"),
        ("not reproduced", "open"),
        ("inconclusive", "open"),
    ):
        with monkeypatch.context() as only:
            with_verdict(table, only, "multimodn", verdict)
            assert table.answer(gaps) == answer


def test_baseline_and_method_with_claim_failed_are_no_answer(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_verdict(table, monkeypatch, "missing-modality-prediction", "reproduced")
    assert "late" not in table.answer(PRESETS["gaps"])  # what other arms are held against
    with_verdict(table, monkeypatch, "supcl-seq", "reproduced")
    assert "supcon" not in table.answer(PRESETS["sensors"])  # one of the two papers of supcon
    with_verdict(table, monkeypatch, "harmonic-loss", "reproduced")
    assert "cross-entropy" not in table.answer(PRESETS["sensors"])  # what harmonic is held against
    with_verdict(table, monkeypatch, "mil-multimodal", "reproduced")
    assert "mil" not in table.answer(
        PRESETS["medical-vl-benchmark"]
    )  # with a pooling that is not the claim's
    with_verdict(table, monkeypatch, "conan-embedding", "reproduced")
    assert table.answer(PRESETS["text-pairs"]) == "take `conan`"  # and not what its claim is held against


def test_papers_pairs_pictures_captions_say_nothing_other(table: Any) -> None:
    assert "(../papers/missing-modality-prediction.md)" in table.found(PRESETS["gaps"])
    assert "(../papers/siglip.md)" not in table.found(PRESETS["sound-text"])
    assert "(../papers/clip-rocket.md)" not in table.found(PRESETS["no-labels"])
    assert "(../papers/siglip.md)" in table.found(PRESETS["medical-vl-benchmark"])
