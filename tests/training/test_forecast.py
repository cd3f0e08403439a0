"""Forecast of a run before it begins: which part is slower, and which setting mends it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoint.cli import main
from counterpoint.data.source import load
from counterpoint.recipes import Recipe, override
from counterpoint.study import gate
from counterpoint.training import forecast
from counterpoint.training.forecast import Forecast, Speed, measured
from counterpoint.training.run import Run

BALANCED = Forecast(
    Speed(prepared=100.0, taken=300.0, examples=32),
    steps=1000,
    batch_size=360,
    workers=4,
    cores=8,
    memory=10,
    free=100,
    microbatch=0,
    fitting=360,
)


def test_a_run_is_as_fast_as_its_slower_part() -> None:
    assert (BALANCED.delivered, BALANCED.pairs) == (400, 300)
    assert BALANCED.hours == pytest.approx(1000 * 360 / 300 / 3600)
    assert replace(BALANCED, workers=2).pairs == 200
    assert replace(BALANCED, workers=0).pairs == pytest.approx(75)  # 1/100 + 1/300 of a second for each pair
    assert replace(BALANCED, workers=100, cores=2).delivered == 200  # more workers than cores prepare no more


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({}, "the model is the slower part; a smaller tower"),
        ({"microbatch": 90}, "the model is the slower part; --microbatch 0 fits into memory too"),
        ({"microbatch": 90, "fitting": 180}, "the model is the slower part; --microbatch 180 fits"),
        ({"microbatch": 90, "fitting": 90}, "the model is the slower part; a smaller tower"),
        ({"workers": 2}, "the loader is the slower part: --workers 3 keeps up with the model"),
        ({"workers": 2, "cores": 2}, "2 cores prepare 200 pairs/s at most: smaller pictures, or more cores"),
        ({"workers": 0}, "75% of the time goes into preparing batches: --workers 3 prepares them"),
        ({"workers": 0, "cores": 1}, "on the one core that there is"),
        (
            {"workers": 0, "speed": Speed(9000.0, 300.0, 32)},
            "3% of the time goes into preparing batches: the model",
        ),
        ({"workers": 1, "speed": Speed(9.0, math.inf, 32)}, "nothing is trained"),
    ],
)
def test_the_setting_that_mends_the_slower_part_is_named(changes: dict[str, object], advice: str) -> None:
    (said,) = replace(BALANCED, **changes).advice()  # type: ignore[arg-type]
    assert advice in said


def test_step_does_not_fit_is_told_with_microbatch_that_does() -> None:
    first, _ = replace(BALANCED, memory=200, fitting=45).advice()
    assert first.endswith("--microbatch 45 does")
    first, _ = replace(BALANCED, memory=200, fitting=0).advice()
    assert "a smaller tower" in first
    assert len(replace(BALANCED, memory=200, free=None).advice()) == 1


def test_speeds_are_those_of_the_run_itself(recipe: Recipe) -> None:
    for changes in ({}, {"microbatch": 4}):
        run = Run("clip", "emoji", override(recipe, {"batch_size": 12, "steps": 5, **changes}))
        speeds = measured(run, load("emoji"))
        assert len(speeds) > 1
        for speed in speeds:
            assert speed.examples == 12
            assert 0 < speed.taken < math.inf
            assert 0 < speed.prepared < math.inf


def test_the_forecast_of_a_dry_run_is_a_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    speeds = [Speed(1e9, 300 * 128 / seconds, 128) for seconds in (60.0, 90.0, 180.0)]
    monkeypatch.setattr(forecast, "measured", lambda *given: speeds)
    assert main(["train", "clip", "--data", "digits", "--recipe", "seconds", "--dry-run"]) == 0
    assert "60 s to 3 min for 300 steps of 128" in " ".join(capsys.readouterr().out.split())


def test_a_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "clip", "--data", "digits", "--recipe", "seconds", "--dry-run"]) == 0
    said = capsys.readouterr().out
    for line in ("memory of a step", "loader: ", "model: ", "for 300 steps of 128"):
        assert line in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "run"])
def test_a_batch_is_looked_at_before_a_dry_run_as_before_a_run(
    dry: bool,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    gate._say_small.cache_clear()  # it speaks once in the life of a process
    train = [
        "train",
        "clip",
        "--data",
        str(pairs),
        "--recipe",
        "seconds",
        "--steps",
        "1",
        "--tasks",
        "retrieval",
    ]
    train += ["--dry-run"] if dry else []
    assert main([*train, "--batch-size", "1"]) == 1
    assert "and a batch would hold one: --batch-size must be at least 2" in capsys.readouterr().err
    assert main(train) == 0
    said = "batches hold all 30 training rows: the recipe has a batch size of 128"
    assert caplog.messages.count(said) == 1
    assert "in a batch of 30" in capsys.readouterr().out
