"""The command that trains on several processes, as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from counterpoint.cli import main
from counterpoint.training.run import RunState
from fixtures.files import write_pairs

OPTIONS = [
    *("--steps", "3", "--batch-size", "16", "--log-every", "1", "--tasks", "retrieval", "--json"),
    *("--towers.image-size", "24", "--towers.vocabulary", "300"),
]


@pytest.mark.slow
def test_two_processes_train_the_run_of_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = str(write_pairs(tmp_path / "pairs"))
    words = ["train", "clip", "--data", data, *OPTIONS, "--out"]
    assert main([*words, str(tmp_path / "one")]) == 0
    one = json.loads(capfd.readouterr().out)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, "-m", "counterpoint", *words, str(tmp_path / "two")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout)  # a single document: the second process says nothing
    assert [row["metric"] for row in two["scores"]] == [row["metric"] for row in one["scores"]]
    assert "memory of a step of each of 2 processes" in done.stderr
    losses = [
        pl.read_parquet(tmp_path / name / "metrics.parquet").filter(name="loss")["value"].to_list()
        for name in ("one", "two")
    ]
    assert len(losses[0]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)  # float32: Adam's first steps enlarge its rounding
    state = RunState.read(tmp_path / "two")
    assert state is not None
    assert (state.status, state.images_seen) == ("finished", 48)


def test_compare_is_not_for_torchrun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["compare", "clip", "siglip"]) == 1
    assert "start it without torchrun" in capsys.readouterr().err
