"""The command that trains on several processes, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from counterpoint.cli import main
from counterpoint.files import latest_checkpoint
from counterpoint.training.run import RunState
from fixtures.commands import started
from fixtures.files import write_pairs

OPTIONS = [
    *("--steps", "3", "--batch-size", "16", "--log-every", "1", "--tasks", "retrieval", "--json"),
    *("--towers.image-size", "24", "--towers.vocabulary", "300"),
]
LAUNCH = (
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    *("-m", "counterpoint"),
)
_BREAKS = """
import os
import torch
class Breaks(torch.nn.Module):
    def forward(self, image, text):
        if os.environ["RANK"] == "1":
            raise ValueError("rank 1 has had enough")
        return (image * text).sum()
"""


@pytest.mark.slow
def test_two_processes_train_the_run_of_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = str(write_pairs(tmp_path / "pairs"))
    words = ["train", "clip", "--data", data, *OPTIONS, "--out"]
    assert main([*words, str(tmp_path / "one")]) == 0
    one = json.loads(capfd.readouterr().out)
    done = subprocess.run(
        [*LAUNCH, *words, str(tmp_path / "two")],
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


@pytest.mark.slow
def test_the_first_process_to_fail_speaks_for_all(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs")
    (tmp_path / "my_loss.py").write_text(_BREAKS)
    words = [
        "train",
        f"{tmp_path / 'my_loss.py'}:Breaks",
        "--data",
        data,
        *OPTIONS,
        "--out",
        tmp_path / "run",
    ]
    with started(tmp_path / "log", *LAUNCH, *words) as session:
        assert session.ends() != 0
        session.wait_until(lambda: not session.alive(), "all processes to end", 10)
        said = [line for line in session.output.splitlines() if line.startswith("counterpoint train:")]
        assert len(said) == 1, session.output
        assert "rank 1 has had enough" in said[0]
        assert "rank 1 has had enough" in session.output.rpartition("Root Cause")[2]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_processes_end_at_a_checkpoint_with_their_launcher(number: signal.Signals, tmp_path: Path) -> None:
    data, run = write_pairs(tmp_path / "pairs"), tmp_path / "run"
    words = ["train", "clip", "--data", data, *OPTIONS, "--steps", "100000", "--checkpoint-every", "20"]
    with started(tmp_path / "log", *LAUNCH, *words, "--out", run) as session:
        session.wait_until(lambda: latest_checkpoint(run / "checkpoint") is not None, "a checkpoint")
        if number == signal.SIGINT:
            session.press(number)
        else:
            os.kill(session.process.pid, number)
        session.wait_until(lambda: not session.alive(), "all processes to end", 35)
        assert session.output.count("the same command goes on from here.") == 1, session.output
    newest = latest_checkpoint(run / "checkpoint")
    state = RunState.read(run)
    assert newest is not None
    assert state is not None
    assert newest.name == f"step-{state.steps:07d}", "of the step at which it was stopped"
