"""Methods train on, and are compared on, worlds of videos and of sounds as on any other data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from counterpoint.cli import main
from counterpoint.recipes import load, override
from counterpoint.study import compare
from counterpoint.study.schema import TrainingSummary
from counterpoint.study.study import resummarise
from counterpoint.training.run import Run
from fixtures.slow import slow

TINY = ("--steps", "2", "--batch-size", "8", "--checkpoint-every", "2", "--validate-every", "2")
TOWERS = ("--towers.image-size", "24", "--towers.vocabulary", "300", "--towers.context", "16")


SMALL = "clips:order,train=24,validation=6,test=8,pixels=16,frames=9"
EXPECTED = {("retrieval", "as trained"), ("retrieval", "other artist"), ("videocon", "as trained")}


@pytest.mark.parametrize("form", ["", *slow(",as=pictures")])
def test_train_on_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    run = tmp_path / "run"
    words = ["train", "clip", "--data", f"{SMALL}{form}", "--out", str(run), "--json", *TINY, *TOWERS]
    assert main([*words, "--towers.video-frames", "3", "--tasks", "retrieval", "videocon"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {(s["task"], s["test"]) for s in scores} >= EXPECTED
    assert ("v2t_R@1" in {s["metric"] for s in scores}) == (form == "")
    assert Run.read(run).data == f"{SMALL}{form}"
    assert main(["evaluate", str(run), "--tasks", "vibe", "--json"]) == 0


def test_compare_on_sounds_as_pictures(tmp_path: Path) -> None:
    data = "sounds:order,train=24,validation=6,test=8,pixels=24,as=pictures"
    recipe = override(
        load("cpu"),
        {
            "steps": 2,
            "batch_size": 8,
            "checkpoint_every": 2,
            "validate_every": 2,
            "towers.image_size": 24,
            "towers.vocabulary": 300,
            "towers.context": 16,
        },
    )
    study = compare(
        "clip",
        "siglip",
        data=data,
        seeds=1,
        recipe=recipe,
        budget="passes",
        tasks=("retrieval", "compa"),
        folder=tmp_path / "study",
        jobs=1,
    )
    assert "compa" in study.report.read_text(encoding="utf-8")

    run = next(study.folder.glob("runs/*/*"))
    assert "columns" not in (run / "recipe.yaml").read_text()
    assert Run.read(run).data == data
    assert resummarise(study.folder).summary.data == data
    assert main(["evaluate", str(run), "--tasks", "compa"]) == 0


def test_compare_on_what_is_heard(tmp_path: Path) -> None:
    data = "sounds:order,train=24,validation=6,test=8"
    study = compare(
        "clip",
        data=data,
        seeds=1,
        recipe=override(
            load("cpu"), {"steps": 2, "batch_size": 8, "towers.vocabulary": 300, "towers.context": 16}
        ),
        folder=tmp_path / "study",
        jobs=1,
    )
    (arm,) = study.summary.arms
    assert {(it.task, it.metric) for it in arm.metrics} >= {
        ("retrieval", "a2t_R@1"),
        ("retrieval", "t2a_R@1"),
    }
    run = next(study.folder.glob("runs/*/*"))
    assert Run.read(run).data == data
    assert resummarise(study.folder).summary.data == data


def test_a_study_says_on_how_many_rows_each_arm_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = "sounds:order,train=24,validation=6,test=8,missing_captions=0.4", tmp_path / "study"
    words = ["compare", "clip", "ntxent,on=audio", "--data", data, "--tasks", "probe", "--out", str(folder)]
    words += [*TINY, "--towers.vocabulary", "300", "--towers.context", "16", "--seeds", "1", "--jobs", "1"]
    assert main(words) == 0
    summary = TrainingSummary.read(folder)
    clip, ntxent = (arm.cost for arm in summary.arms)
    assert 2 < clip.rows < 24 == ntxent.rows == clip.rows + clip.left_out
    said = capsys.readouterr()
    assert f"{clip.rows} of 24" in said.out
    (difference,) = {d.sentence for d in summary.differences if d.family == "main"}
    assert f"Rows trained on: clip on {clip.rows} of 24, ntxent,on=audio on 24." in difference
    assert f"clip: trained on {clip.rows} of 24 rows, as the others lack" in " ".join(summary.warnings)
    assert "rows trained on" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow  # three towers, two arms
def test_arms_of_different_columns_compared_on_rows_with_gaps(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="speech is synthesised by espeak")
    data, folder = "speech:basic,train=24,validation=8,test=12", tmp_path / "study"
    words = ["compare", "clip,columns=audio+text", "more", "--data", data, "--tasks", "retrieval"]
    words += ["--missing", "audio:0.3", "image:0.4,in=train", "--out", str(folder), *TINY, *TOWERS]
    assert main([*words, "--seeds", "1", "--jobs", "1"]) == 0
    summary = TrainingSummary.read(folder)
    assert summary.data == f"{data},missing=audio:0.3+image:0.4/in:train"
    clip, more = (arm.cost for arm in summary.arms)
    assert 2 < clip.rows < more.rows == 24
    assert summary.primary.metric == "a2t_R@1"
    tested = {arm.name: next(m.n for m in arm.metrics if m.metric == "a2t_R@1") for arm in summary.arms}
    assert len(set(tested.values())) == 1
    assert 0 < tested["more"] < 12


def test_task_world_has_nothing_for_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train",
        "clip",
        "--data",
        "sounds:basic,train=24,as=pictures",
        "--out",
        str(tmp_path / "run"),
        *TINY,
        *TOWERS,
    ]
    assert main([*words, "--tasks", "winoground"]) == 1
    assert "winoground asks about minimal pairs, and there are none" in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.json").exists()
