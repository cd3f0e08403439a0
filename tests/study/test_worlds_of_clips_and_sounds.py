"""Methods train on, and are compared on, worlds of videos and of sounds as on any other data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from counterpoint.cli import main
from counterpoint.study import compare

TINY = ("--steps", "2", "--batch-size", "8", "--checkpoint-every", "2", "--validate-every", "2")
TOWERS = ("--towers.image-size", "24", "--towers.vocabulary", "300", "--towers.context", "16")


def test_train_on_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = "clips:order,train=24,validation=6,test=8,pixels=16,frames=9"
    words = ["train", "clip", "--data", data, "--out", str(tmp_path / "run"), "--json", *TINY, *TOWERS]
    assert main([*words, "--tasks", "retrieval", "videocon"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {(s["task"], s["test"]) for s in scores} >= {
        ("retrieval", "as trained"),
        ("retrieval", "other artist"),
        ("videocon", "as trained"),
    }


def test_compare_on_sounds(tmp_path: Path) -> None:
    from counterpoint.recipes import load, override

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
        data="sounds:order,train=24,validation=6,test=8,pixels=24",
        seeds=1,
        recipe=recipe,
        budget="images",
        tasks=("retrieval", "compa"),
        folder=tmp_path / "study",
        jobs=1,
    )
    assert "compa" in study.report.read_text(encoding="utf-8")


def test_a_task_that_the_world_has_nothing_for_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train",
        "clip",
        "--data",
        "sounds:basic,train=24",
        "--out",
        str(tmp_path / "run"),
        *TINY,
        *TOWERS,
    ]
    assert main([*words, "--tasks", "winoground"]) == 1
    assert "winoground asks about minimal pairs, and there are none" in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.json").exists()
