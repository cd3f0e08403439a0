"""Units of several GPUs: as many processes work on one together, and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from counterpoint.execution import (
    InUseError,
    Local,
    ResourceRequest,
    StopRequest,
    UnitFailedError,
    WorkList,
    leased,
    together,
)
from counterpoint.execution.orders import WorkItem
from counterpoint.execution.state import State
from counterpoint.execution.together import command
from fixtures.units import PYTHONPATH, Counting, Heard


def counting(folder: Path, **options: object) -> Counting:
    return Counting("a", folder / "a", needs=ResourceRequest(gpus=2), **options)  # type: ignore[arg-type]


def test_machines_are_those_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = WorkItem.of(Counting("a", tmp_path, needs=ResourceRequest(gpus=16, nodes=2)))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(ValueError, match=r"a needs 2 machines: use --executor slurm or --executor ray"):
        command(order)
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.setenv("SLURMD_NODENAME", "first")
    words = command(order)
    assert words[:3] == ["srun", "--nodes=2", "--ntasks-per-node=1"]
    assert words[words.index("--nproc-per-node") + 1] == "8"
    assert words[words.index("--rdzv-endpoint") + 1] == "first:29441"


def test_a_folder_in_other_hands_is_left_alone(tmp_path: Path) -> None:
    unit = counting(tmp_path)
    with leased(unit.folder), pytest.raises(InUseError):
        Local(others="refuse").carry_out([unit])
    assert not unit.steps


_LAUNCHER = """
import signal, sys, time
from pathlib import Path
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
Path(sys.argv[1]).touch()
while not told:
    time.sleep(0.01)
time.sleep(1.5)
Path(sys.argv[1]).write_text(str(len(told)))
"""


def test_the_launcher_is_told_once_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "told"
    monkeypatch.setattr(together, "command", lambda order: [sys.executable, "-c", _LAUNCHER, str(mark)])

    def press() -> None:
        end = time.monotonic() + 60
        while not mark.exists() and time.monotonic() < end:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(StopRequest):
        Local().carry_out([counting(tmp_path)])
    thread.join()
    assert mark.read_text() == "1", "a further signal breaks off its wait for its processes"


@pytest.mark.slow
@pytest.mark.system
def test_two_processes_work_on_a_unit(tmp_path: Path) -> None:
    unit, heard = counting(tmp_path, total=20, seconds=0.2), Heard()
    assert Local().carry_out([unit], heard) == [20]
    assert heard.steps
    assert len(set(unit.steps)) == 2
    assert os.getpid() not in unit.steps


@pytest.mark.slow
@pytest.mark.system
def test_an_error_of_one_process_is_the_units(tmp_path: Path) -> None:
    with pytest.raises(UnitFailedError, match=r"a: one of 2 processes failed: two is too much"):
        Local().carry_out([counting(tmp_path, fails="error")])


@pytest.mark.slow
@pytest.mark.system
def test_a_stop_reaches_all_processes(tmp_path: Path) -> None:
    unit = counting(tmp_path, total=100_000, seconds=0.01)

    def press() -> None:
        end = time.monotonic() + 120
        while len(set(unit.steps)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(StopRequest):
        Local().carry_out([unit])
    thread.join()
    state = State.read(unit.folder)
    assert state is not None
    assert state.status == "stopped"
    before = len(unit.steps)
    time.sleep(0.3)
    assert len(unit.steps) == before


@pytest.mark.slow
@pytest.mark.system
def test_processes_end_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    unit = counting(tmp_path, total=100_000, seconds=0.01)
    WorkList.of("counting", [unit], tmp_path).write(tmp_path)
    words = [sys.executable, "-m", "counterpoint", "work", str(tmp_path)]
    with subprocess.Popen(words, env={**os.environ, "PYTHONPATH": PYTHONPATH}) as worker:
        end = time.monotonic() + 120
        while len(set(unit.steps)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        worker.kill()
    while any(unit.folder.glob(".lease-*")) and time.monotonic() < end:
        time.sleep(0.1)
    assert not list(unit.folder.glob(".lease-*"))
    before = len(unit.steps)
    time.sleep(0.3)
    assert len(unit.steps) == before > 0
