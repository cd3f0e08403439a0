"""Arms with a classifier of their own and arms without in one study: a second task, with a dash for those without."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoint.cli import main
from counterpoint.study.schema import TrainingSummary

STUDY = ["--data", "scenes:basic,train=32,validation=6,test=16", "--recipe", "seconds", "--steps", "2"]
STUDY += ["--batch-size", "8", "--labels", "colour", "--seeds", "1", "--jobs", "1"]


def test_a_task_of_some_arms_stands_beside_what_all_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = ["late", "late,fill=mean", "clip"]
    assert main(["compare", *arms, *STUDY, "--tasks", "probe", "classification", "--out", str(tmp_path)]) == 0
    summary = TrainingSummary.read(tmp_path)
    assert summary.primary.task == "probe"
    assert {metric.task for metric in summary.of_some} == {"classification"}
    (own,) = {metric.metric for metric in summary.of_some}
    assert own == "accuracy"
    for arm in summary.arms:
        has = any(score.task == "classification" for score in arm.metrics)
        assert has == (arm.name != "clip")
    between = {(d.a, d.b) for d in summary.differences if d.task == "classification"}
    assert between == {("late", "late,fill=mean")}
    assert {d.family for d in summary.differences if d.task == "classification"} == {
        "on metrics of some arms"
    }
    (row,) = (
        line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| clip |")
    )
    assert row.endswith("| – |")
    assert "not asked" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "classification" in capsys.readouterr().out


def test_own_classes_are_not_asked_where_no_arm_has_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "clip", "moco,queue=16", *STUDY, "--tasks", "probe", "classification"]
    assert main([*words, "--out", str(tmp_path)]) == 1
    assert "learned no label: give --labels NAME" in capsys.readouterr().err
