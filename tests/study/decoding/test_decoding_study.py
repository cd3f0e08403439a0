"""A study of decoding from its methods to its page: resumable, extensible, nothing asked twice."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import counterpoint as cp
from counterpoint.evaluation import create
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.study.decoding.design import DecodingDesign
from counterpoint.study.decoding.model import located
from counterpoint.study.decoding.transcript import Transcript
from counterpoint.study.decoding.units import units
from counterpoint.study.design import Design, OtherStudyError, kind_of
from counterpoint.study.scored import read_scores
from counterpoint.study.study import DryRunExit, Study
from fixtures.decoded import Parrot, stopping, write_questions

TASKS = ("answers", "pope")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = write_questions(tmp_path_factory.mktemp("data"))
    return {"model": Parrot, "data": data, "tasks": TASKS, "limit": 10, "max_new_tokens": 4}


@pytest.fixture(autouse=True)
def unheard() -> None:
    Parrot.heard = 0


@pytest.fixture(scope="module")
def finished(quick: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    cp.compare_decoding("vcd", seeds=2, folder=folder, **quick)
    return folder


def test_a_study_ends_with_numbers_verdicts_tables_and_a_page(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert [arm["name"] for arm in summary["arms"]] == ["plain", "plain,beta=0.1", "vcd"]
    assert {(c["arm"], c["task"], c["metric"]) for c in summary["conclusions"]} >= {
        ("vcd", "answers", "accuracy"),
        ("vcd", "pope", "f1"),
    }
    assert any(line.startswith("2 seeds: ") for line in summary["cannot_show"])
    assert {row["arm"] for row in csv.DictReader((finished / "table.csv").open())} == {
        "plain",
        "plain,beta=0.1",
        "vcd",
    }
    costs = {row["arm"]: row for row in csv.DictReader((finished / "costs.csv").open())}
    assert float(costs["vcd"]["relative_passes"]) == 2.0
    assert float(costs["plain"]["relative_passes"]) == 1.0
    markdown = (finished / "table.md").read_text()
    assert "| vcd | 2.00 × |" in markdown
    assert (finished / "report.html").exists()
    assert kind_of(finished) == "decoding"
    study = Study.read(finished)
    assert [line.split(":")[0] for line in study.conclusion] == ["answers accuracy (all)", "pope f1 (all)"]
    assert len(study.sentences) == 2, "vcd against plain sampling, and against its rule alone"


def test_finished_units_are_never_asked_again(quick: dict[str, Any], finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "study")
    same = cp.compare_decoding("vcd", seeds=2, folder=tmp_path / "study", **quick)
    assert Parrot.heard == 0
    assert (
        same.summary.plain()["differences"]
        == json.loads((finished / "summary.json").read_text())["differences"]
    )
    cp.compare_decoding("ritual", seeds=2, folder=tmp_path / "study", **quick)
    grown = json.loads((tmp_path / "study" / "summary.json").read_text())
    # The rule alone is that of both methods, and is there already.
    assert [arm["name"] for arm in grown["arms"]] == ["plain", "plain,beta=0.1", "vcd", "ritual"]
    design = DecodingDesign.read(tmp_path / "study")
    assert design is not None
    first = units(design, tmp_path / "study")[0].folder
    assert (first / "scores.json").stat().st_mtime_ns > 0
    assert Transcript.read(first).replies == Transcript.read(units(design, finished)[0].folder).replies


def test_replies_before_an_interruption_are_kept(quick: dict[str, Any], tmp_path: Path) -> None:
    class Once:
        """A listener that stops in the third unit, and goes on the next time."""

        def __init__(self) -> None:
            self.left = 2

        def begin(self, title: str, units: Any) -> None:
            self.count = len(units)

        def progressed(self, unit: Any, progress: Any) -> None:
            if self.left == 0:
                raise KeyboardInterrupt

        def ended(self, unit: Any, result: Any) -> None:
            self.left -= 1

        def waits(self, reason: str) -> None:
            return None

    with pytest.raises(KeyboardInterrupt):
        cp.compare_decoding("vcd", seeds=1, folder=tmp_path, listener=Once(), **quick)
    design = DecodingDesign.read(tmp_path)
    assert design is not None
    whole = units(design, tmp_path)
    assert [unit.finished for unit in whole[:3]] == [True, True, False]
    kept = Transcript.read(whole[2].folder)
    assert kept.replies
    assert kept.seconds > 0
    listener = Once()
    listener.left = 99
    cp.compare_decoding("vcd", seeds=1, folder=tmp_path, listener=listener, **quick)
    assert listener.count == len(whole), "those that were done are told of, and not done again"
    assert Transcript.read(whole[2].folder).replies == kept.replies


def test_the_same_whether_or_not_it_was_stopped(
    quick: dict[str, Any], finished: Path, tmp_path: Path
) -> None:
    for after in (100, 250, 10**6):
        try:
            cp.compare_decoding("vcd", seeds=2, folder=tmp_path, **quick | {"model": stopping(after)})
        except KeyboardInterrupt:
            continue
    found, expected = (json.loads((place / "summary.json").read_text()) for place in (tmp_path, finished))
    assert found["differences"] == expected["differences"]
    assert [arm["metrics"] for arm in found["arms"]] == [arm["metrics"] for arm in expected["arms"]]


def test_a_dry_run_tells_the_cost_and_writes_nothing(quick: dict[str, Any], tmp_path: Path) -> None:
    told: dict[str, Any] = {}

    def on_cost(design: Any, costs: Any) -> bool:
        told.update(costs)
        return False

    with pytest.raises(DryRunExit):
        cp.compare_decoding("vcd", seeds=3, folder=tmp_path / "study", on_cost=on_cost, **quick)
    assert {arm: cost.units for arm, cost in told.items()} == {"plain": 6, "plain,beta=0.1": 6, "vcd": 6}
    assert told["vcd"].relative_passes == 2.0
    assert not (tmp_path / "study").exists()


def test_a_task_with_several_kinds_has_one_folder(quick: dict[str, Any], tmp_path: Path) -> None:
    task = "answers,kinds=existence/colour"
    cp.compare_decoding("vcd", seeds=1, folder=tmp_path, **quick | {"tasks": (task,)})
    (folder,) = (tmp_path / "runs" / "vcd" / "seed-0").iterdir()
    assert {row["task"] for row in json.loads((folder / "scores.json").read_text())} == {task}


def test_another_study_in_the_folder(quick: dict[str, Any], finished: Path, tmp_path: Path) -> None:
    with pytest.raises(OtherStudyError, match=r"it differs in limit"):
        cp.compare_decoding("vcd", seeds=2, folder=finished, **quick | {"limit": 5})
    with pytest.raises(OtherStudyError, match=r"another kind \(decoding\)"):
        Design.read(finished)
    Design(("clip",)).reserve(tmp_path)
    with pytest.raises(OtherStudyError, match=r"another kind \(training\)"):
        cp.compare_decoding("vcd", folder=tmp_path, **quick)


def test_greedy_search_has_no_rule_alone(quick: dict[str, Any], tmp_path: Path) -> None:
    study = cp.compare_decoding("vcd", seeds=1, temperature=0, folder=tmp_path, **quick)
    assert [arm["name"] for arm in study.summary.plain()["arms"]] == ["plain", "vcd"]
    assert any("Greedy search" in line for line in study.summary.plain()["cannot_show"])


def test_data_without_questions(quick: dict[str, Any], pairs: Path) -> None:
    with pytest.raises(NotApplicableError, match="has nothing that chair asks about"):
        cp.compare_decoding("vcd", **quick | {"data": str(pairs), "tasks": ("chair",)})
    with pytest.raises(NotApplicableError, match="give data with questions"):
        cp.compare_decoding("vcd", **quick | {"data": str(pairs), "tasks": None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"limit": 1}, "limit must be at least 2, got 1"),
        ({"temperature": -1.0}, "temperature must be at least 0, got -1"),
        ({"temperature": float("inf")}, "temperature must be a finite number"),
        ({"margin": float("nan")}, "margin must be a finite number"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"tasks": ("poep",)}, "did you mean 'pope'"),
        ({"tasks": ("pope", "pope")}, "tasks must differ from each other"),
    ],
)
def test_bad_input(changes: dict[str, Any], message: str, quick: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        cp.compare_decoding("vcd", **quick | changes)


def test_without_methods(quick: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="which methods"):
        cp.compare_decoding(**quick)


def test_a_run_in_place_of_its_model_says_where_that_is(tmp_path: Path) -> None:
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=rf"is a run; its model is {re.escape(str(inside))}"):
        located(str(tmp_path))


def test_a_folder_that_is_missing_is_asked_of_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located("runs/mistyped") == "runs/mistyped", "as a name of the hub has this form"
    (tmp_path / "runs").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no folder runs/mistyped with a model in it"):
        located("runs/mistyped")


def test_scores_of_a_unit_say_which_metric_a_verdict_is_about(finished: Path) -> None:
    design = DecodingDesign.read(finished)
    assert design is not None
    for unit in units(design, finished):
        roles = {row["metric"]: row["role"] for row in read_scores(unit.folder)}
        primary = [metric for metric, role in roles.items() if role == "primary"]
        assert primary == [create(unit.task).primary]
