"""Units handed over to jobs of SLURM, whose scripts are run here as processes by a stand-in for its commands."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from counterpoint.execution import ResourceRequest, WorkHandover, WorkList
from counterpoint.execution.executors.slurm import Slurm
from fixtures.units import PYTHONPATH, Counting

_SBATCH = """#!/bin/bash
# Stands for sbatch: keeps what it is told, and says a job's number.
echo "$@" >> "$SLURM_STAND_IN/submitted"
[ -z "$SLURM_REFUSES" ] || { echo "sbatch: error: $SLURM_REFUSES" >&2; exit 1; }
echo $((40 + $(wc -l < "$SLURM_STAND_IN/submitted")))
"""
_SQUEUE = """#!/bin/bash
cat "$SLURM_STAND_IN/queue" 2>/dev/null
"""
_SCONTROL = """#!/bin/bash
echo "$@" >> "$SLURM_STAND_IN/asked"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a stand-in for SLURM's commands, and of what they were told."""
    place = tmp_path / "slurm-commands"
    place.mkdir()
    for name, text in (("sbatch", _SBATCH), ("squeue", _SQUEUE), ("scontrol", _SCONTROL)):
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_STAND_IN", str(place))
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    return place


def study(folder: Path, **options: object) -> list[Counting]:
    units = [Counting(name, folder / name, **options) for name in ("a", "b", "c")]  # type: ignore[arg-type]
    WorkList.of("counting", units, folder).write(folder)
    return units


def settings(script: Path) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", script.read_text(), re.MULTILINE))


def test_scripts_are_written_and_command_submits_them_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "my study"
    units = study(folder, needs=ResourceRequest(cpus=6, gpus=16, nodes=2, memory=3 * 2**30))
    with pytest.raises(WorkHandover) as told:
        Slurm(time="12:00:00").carry_out(units, listed=folder)
    array, end = folder / "slurm" / "runs.sh", folder / "slurm" / "end.sh"
    assert f"sbatch --dependency=afterany:$(sbatch --parsable '{array}') '{end}'" in str(told.value)
    for script in (array, end):
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    asked = settings(array)
    assert (asked["array"], asked["time"], asked["nodes"]) == ("1-3", "12:00:00", "2")
    assert (asked["gpus-per-node"], asked["cpus-per-task"], asked["mem"]) == ("8", "3", "1536M")
    assert asked["chdir"] == os.getcwd()
    assert shlex.split(asked["job-name"]) == ["my study"], (
        "sbatch takes what follows a space for something else"
    )
    assert shlex.split(asked["output"]) == [f"{folder}/slurm/%A_%a.log"]
    assert "array" not in settings(end)


def test_finished_units_are_not_handed_over(slurm: Path, tmp_path: Path) -> None:
    units = study(tmp_path / "study")
    for unit in units[:2]:
        unit.folder.mkdir(parents=True)
        (unit.folder / "done").write_text("3")
    with pytest.raises(WorkHandover):
        Slurm().carry_out(units, listed=tmp_path / "study")
    assert settings(tmp_path / "study" / "slurm" / "runs.sh")["array"] == "1-1"
    units[2].folder.mkdir()
    (units[2].folder / "done").write_text("3")
    assert Slurm().carry_out(units, listed=tmp_path / "study") == [3, 3, 3]
    assert not (slurm / "submitted").exists()


def test_jobs_are_submitted_once(slurm: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    units = study(folder)
    with pytest.raises(WorkHandover, match=r"submitted job 41, of 3 that take runs, and job 42, which ends"):
        Slurm(submit=True).carry_out(units, listed=folder)
    first, second = (slurm / "submitted").read_text().splitlines()
    assert first == f"--parsable {folder / 'slurm' / 'runs.sh'}"
    assert second == f"--parsable --dependency=afterany:41 {folder / 'slurm' / 'end.sh'}"
    (slurm / "queue").write_text("41_1 pending\n")
    with pytest.raises(WorkHandover, match="job 41 is in hand already"):
        Slurm(submit=True).carry_out(units, listed=folder)
    assert len((slurm / "submitted").read_text().splitlines()) == 2


def test_what_is_wrong_is_said(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = study(tmp_path / "study")
    monkeypatch.setenv("SLURM_REFUSES", "invalid partition specified: gpu")
    with pytest.raises(RuntimeError, match=r"sbatch refused the job: .*invalid partition specified: gpu"):
        Slurm(submit=True).carry_out(units, listed=tmp_path / "study")
    monkeypatch.setenv("PATH", "/none")
    with pytest.raises(FileNotFoundError, match="there is no sbatch here"):
        Slurm(submit=True).carry_out(units, listed=tmp_path / "study")
    memory = Path("/dev/shm/counterpoint-study")
    with pytest.raises(
        ValueError, match="is in the memory of this machine, and jobs on others do not see it"
    ):
        Slurm().carry_out(units, listed=memory)


def run(script: Path, job: str) -> subprocess.Popen[str]:
    """Begin a job's script as SLURM does, in a session of its own."""
    return subprocess.Popen(
        ["bash", str(script)],
        env={**os.environ, "SLURM_JOB_ID": job},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(happened: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"waited {seconds} seconds for {what}"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.system
def test_jobs_share_the_units_and_one_ends_the_work(slurm: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    units = study(folder, total=20, seconds=0.05)
    with pytest.raises(WorkHandover):
        Slurm().carry_out(units, listed=folder)
    jobs = [run(folder / "slurm" / "runs.sh", str(number)) for number in (1, 2)]
    for job in jobs:
        said, _ = job.communicate(timeout=120)
        assert job.returncode == 0, said
    assert [len(unit.steps) for unit in units] == [20, 20, 20]
    end = run(folder / "slurm" / "end.sh", "3")
    said, _ = end.communicate(timeout=120)
    assert end.returncode == 0, said
    assert not (slurm / "asked").exists()


@pytest.mark.slow
@pytest.mark.system
def test_job_near_limit_is_queued_again_and_cancelled_one_is_not(slurm: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    units = study(folder, total=200, seconds=0.05)
    with pytest.raises(WorkHandover):
        Slurm().carry_out(units, listed=folder)
    script = folder / "slurm" / "runs.sh"
    near = run(script, "7")
    until(lambda: len(units[0].steps) > 2, "the first unit to begin")
    near.send_signal(signal.SIGHUP)  # to the script alone, as SLURM does
    near.communicate(timeout=60)
    assert near.returncode == 129
    assert (slurm / "asked").read_text() == "requeue 7\n"
    before = len(units[0].steps)
    assert before < 200
    cancelled = run(script, "8")
    until(lambda: len(units[0].steps) > before, "the unit to go on")
    os.killpg(cancelled.pid, signal.SIGTERM)  # to all of the job's processes
    cancelled.communicate(timeout=60)
    assert (slurm / "asked").read_text() == "requeue 7\n"
    assert len(units[0].steps) < 200
    assert not list(units[0].folder.glob(".lease-*"))
