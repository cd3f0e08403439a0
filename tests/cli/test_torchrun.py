"""The command that trains on several processes, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import counterpoint as cp
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
@pytest.mark.system
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
@pytest.mark.system
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
@pytest.mark.system
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


def of_two(code: str, *words: str) -> list[subprocess.Popen[str]]:
    """Begin a program as two ranks that find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env=os.environ | meet | {"RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


_ASKED_MEANWHILE = """
import os, signal, sys
import torch
from counterpoint.execution.signals import raised
from counterpoint.training.sharing import distributed
def asked():
    os.kill(os.getpid(), signal.SIGTERM)
def lost(every, present, real=distributed._lost):
    asked()
    return real(every, present)
with raised(), distributed.joined() as ranks:
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        while True:
            torch.distributed.all_reduce(torch.ones(1))
    finally:
        if sys.argv[1] == "before":
            asked()
        distributed._lost = lost
"""


@pytest.mark.parametrize("moment", ["before", "while"])
def test_launcher_that_asks_others_to_end_does_not_hide_cause(moment: str, tmp_path: Path) -> None:
    first, second = of_two(_ASKED_MEANWHILE, moment)
    second.communicate()
    said = first.communicate()[1].splitlines()[-1]
    assert "RankFailedError: rank 1 on " in said
    assert f"process {second.pid} is gone without a word" in said


_LONG_WORK = """
import datetime, time
import torch.distributed as dist
from counterpoint.training.sharing import distributed
with distributed.joined():
    short = datetime.timedelta(seconds=2)
    dist.distributed_c10d._get_default_store().set_timeout(short)
    dist.distributed_c10d._set_pg_timeout(short, dist.group.WORLD)
    for _ in range(2):
        with distributed.first_alone() as first:
            time.sleep(5 * first)
"""


@pytest.mark.slow
@pytest.mark.system
def test_others_wait_for_first_for_longer_than_their_group_does() -> None:
    first, second = of_two(_LONG_WORK)
    for process in (first, second):
        _, said = process.communicate()
        assert process.returncode == 0, said


_BREAKS_ONCE = """
import os
import random
import signal
import socket
import torch
class Breaks(torch.nn.Module):
    def forward(self, image, text):
        self.steps = getattr(self, "steps", 0) + self.training
        # The memory of a step is measured before the first.
        if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and self.steps > 9:
            {deed}
        return (image * text).sum()
"""


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("raise ValueError('rank 1 has had enough')", "rank 1 has had enough"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "is gone without a word"),
    ],
)
def test_rank_that_fails_ends_all_at_once_and_a_restart_goes_on(
    deed: str, reason: str, tmp_path: Path
) -> None:
    data, run = write_pairs(tmp_path / "pairs"), tmp_path / "run"
    (tmp_path / "my_loss.py").write_text(_BREAKS_ONCE.replace("{deed}", deed))
    loss = f"{tmp_path / 'my_loss.py'}:Breaks"
    words = [
        "train",
        loss,
        "--data",
        data,
        *OPTIONS,
        "--steps",
        "20",
        "--checkpoint-every",
        "2",
        "--out",
        run,
    ]
    with started(tmp_path / "log", *LAUNCH, *words) as session:
        assert session.ends() != 0
        session.wait_until(lambda: not session.alive(), "all processes to end", 10)
        said = [line for line in session.output.splitlines() if line.startswith("counterpoint train:")]
        assert len(said) == 1, session.output
        assert said[0].startswith(f"counterpoint train: rank 1 on {socket.gethostname()}: ")
        assert reason in said[0]
    stopped = RunState.read(run)
    assert stopped is not None
    assert stopped.status == "running"
    restarting = [*LAUNCH[:3], "--max-restarts", "1", *LAUNCH[3:]]
    with started(tmp_path / "again", *restarting, *words) as session:
        # The first start of it breaks as well, a little later, and the second one ends the run.
        assert session.ends() == 0, session.output
    ended = RunState.read(run)
    assert ended is not None
    assert (ended.status, ended.steps) == ("finished", 20)


@pytest.mark.slow
@pytest.mark.system
def test_blocks_are_shared_out_and_the_run_is_whole_at_its_end(tmp_path: Path) -> None:
    data, run = write_pairs(tmp_path / "pairs"), tmp_path / "run"
    words = ["train", "byolip", "--data", data, *OPTIONS, "--parallel.mode", "fsdp", "--validate-every", "2"]
    with started(tmp_path / "log", *LAUNCH, *words, "--checkpoint-every", "1", "--out", run) as session:
        assert session.ends() == 0, session.output
    newest, before = sorted((run / "checkpoint").iterdir(), reverse=True)
    assert (newest / "model.safetensors").exists()
    assert (before / ".metadata").exists()
    model = cp.load(str(run))
    assert model.embed("text", ["a small red circle"]).shape == (1, model.width)
    assert (run / "scores.json").exists()
    names = set(pl.read_parquet(run / "metrics.parquet")["name"])
    assert any(name.startswith("validation/") for name in names)
