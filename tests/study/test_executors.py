"""Studies under every executor, killed at random moments: the runs are those of an undisturbed study, bit for bit."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from counterpoint.execution.lease import holder
from fixtures import ray_cluster, slurm
from fixtures.commands import Session, counterpoint, started
from fixtures.compared import runs, same_study

pytestmark = [pytest.mark.slow, pytest.mark.system]

COMPARE = ("compare", "clip", "siglip", "--seeds", "2")
KILLS = 20


@pytest.fixture(scope="module")
def options(pairs: Path) -> list[str]:
    """Return the options of runs that take some seconds."""
    return [
        *("--data", str(pairs), "--steps", "150", "--batch-size", "8", "--checkpoint-every", "10"),
        *("--log-every", "10", "--validate-every", "150", "--tasks", "retrieval", "--widths.embedding", "32"),
        *("--towers.image-size", "16", "--towers.vocabulary", "300"),
    ]


@pytest.fixture(scope="module")
def undisturbed(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    with counterpoint(
        folder / "log", *COMPARE, *options, "--jobs", "1", "--out", folder / "study"
    ) as session:
        assert session.ends() == 0, session.output
    return folder / "study"


@pytest.fixture
def moments(undisturbed: Path) -> Iterator[float]:
    """Return seconds from the beginning of work to a kill: some twenty kills come before the work of two is done."""
    work = sum(json.loads((run / "run.json").read_text())["seconds"] for run in runs(undisturbed))
    random_stream = random.Random(KILLS)
    return iter(lambda: random_stream.uniform(0.0, work / 2 / (KILLS / 2)), None)


def states(study: Path) -> list[str]:
    """Return the status of every run that has begun."""
    return [json.loads((run / "run.json").read_text())["status"] for run in runs(study)]


def begun(study: Path, since: float) -> bool:
    """Return whether somebody has taken a run since a time: those who are killed leave their leases behind."""
    holders = (holder(run) for run in study.glob("runs/*/*"))
    return any(each.since > since for each in holders if each is not None)


def check(study: Path, undisturbed: Path) -> None:
    assert states(study) == ["finished"] * 4
    assert (study / "report.html").exists()
    assert not list(study.rglob(".lease-*"))
    same_study(study, undisturbed)


def kill_all(session: Session) -> None:
    for process in session.alive():
        os.kill(process, signal.SIGKILL)
    session.process.wait()


def killed(log: Path, words: list[Any], study: Path, moments: Iterator[float]) -> None:
    """Begin a command and kill it at a random moment after it has taken a run, again and again.

    The first is killed in training: how long it took to get there is added to the moments of the others in part.
    """
    parts = random.Random(0)
    before_training = 0.0
    for moment in itertools.islice(moments, KILLS):
        since = time.time()
        with started(log, *words) as session:
            session.wait_until(lambda at=since: begun(study, at) or not session.alive(), "a run to begin")
            if not before_training:
                taken = time.monotonic()
                session.wait_until(lambda: any(study.glob("runs/*/*/checkpoint/step-*")), "a checkpoint")
                before_training = time.monotonic() - taken
            else:
                time.sleep(parts.uniform(0, before_training) + moment)
            kill_all(session)


def disturbed(log: Path, words: list[Any], study: Path, moments: Iterator[float]) -> None:
    """Kill a command again and again, then let it end."""
    killed(log, words, study, moments)
    with started(log, *words) as session:
        assert session.ends() == 0, session.output


def test_a_study_that_is_killed(
    options: list[str], undisturbed: Path, moments: Iterator[float], tmp_path: Path
) -> None:
    words = [
        sys.executable,
        "-m",
        "counterpoint",
        *COMPARE,
        *options,
        "--jobs",
        "2",
        "--out",
        tmp_path / "study",
    ]
    disturbed(tmp_path / "log", words, tmp_path / "study", moments)
    check(tmp_path / "study", undisturbed)


def handed_over(options: list[str], study: Path, log: Path, *more: str) -> str:
    """Hand a study over to jobs, and return what was said."""
    words = [*COMPARE, *options, *more, "--executor", "slurm", "--out", study]
    with counterpoint(log, *words) as session:
        assert session.ends() == 0, session.output
        assert "sbatch --dependency=afterany" in session.output
        return session.output


def test_a_work_that_is_killed_again_and_again_before_two_end_it(
    options: list[str], undisturbed: Path, moments: Iterator[float], tmp_path: Path
) -> None:
    study = tmp_path / "study"
    handed_over(options, study, tmp_path / "log")
    words = [sys.executable, "-m", "counterpoint", "work", study]
    killed(tmp_path / "log", words, study, moments)
    with (
        counterpoint(tmp_path / "other", "work", study) as other,
        counterpoint(tmp_path / "log", "work", study) as one,
    ):
        assert (other.ends(), one.ends()) == (0, 0), (other.output, one.output)
    check(study, undisturbed)
    with counterpoint(tmp_path / "log", "status", study, "--json") as session:
        assert session.ends() == 0
        assert [run["status"] for run in json.loads(session.output)] == ["done"] * 4


def test_jobs_of_an_array_that_are_killed(
    options: list[str], undisturbed: Path, moments: Iterator[float], tmp_path: Path
) -> None:
    study = tmp_path / "study"
    handed_over(options, study, tmp_path / "log")
    array = (study / "slurm" / "runs.sh").read_text()
    assert re.search(r"^#SBATCH --array=1-4$", array, re.MULTILINE)
    disturbed(tmp_path / "log", ["bash", study / "slurm" / "runs.sh"], study, moments)
    with started(tmp_path / "log", "bash", study / "slurm" / "end.sh") as session:
        assert session.ends() == 0, session.output
    check(study, undisturbed)


@pytest.fixture
def real_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with slurm.cluster(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.mark.usefixtures("real_slurm")
def test_jobs_of_slurm_itself_of_which_one_is_cancelled(options: list[str], tmp_path: Path) -> None:
    study, end = tmp_path / "study", time.monotonic() + 400
    longer = [*options, "--steps", "300", "--validate-every", "300"]
    words = [*COMPARE, *longer, "--executor", "slurm", "--submit", "--out", study]

    def until(happened: Callable[[], bool]) -> None:
        while not happened():
            assert time.monotonic() < end, [path.read_text() for path in study.glob("slurm/*.log")]
            time.sleep(0.1)

    # Not as a session: jobs inherit its mark, and would end with it.
    command = [sys.executable, "-m", "counterpoint", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(r"submitted job \d+, of 4 that take runs, and job \d+, which ends", done.stdout)
    until(lambda: len(list(study.glob("runs/*/*/checkpoint/step-*"))) > 1)
    told: list[str] = []  # jobs, of which the first is cancelled

    def tell(*words: str) -> bool:
        """Tell a job that runs and was told nothing yet; one that has only just begun or has ended takes no word."""
        running = [job for job, state in slurm.queue("%i", "%T") if state == "RUNNING" and job not in told]
        heard = (job for job in running if not subprocess.run([*words, job], check=False).returncode)
        told.extend(itertools.islice(heard, 1))
        return bool(told)

    def begun_again() -> bool:
        """Tell jobs that their limit is near, until one was begun again."""
        tell("scancel", "--signal=HUP", "--batch")
        return "Restarts=1" in slurm.described(array)

    until(lambda: tell("scancel"))
    array = told[0].partition("_")[0]
    until(begun_again)
    assert "Restarts=0" in slurm.described(told[0])
    until(lambda: states(study) == ["finished"] * 4)
    subprocess.run(["scancel", array], check=False)  # those that still wait for their turn
    until(lambda: not slurm.queue("%i"))
    assert (study / "report.html").exists()
    assert [json.loads((run / "run.json").read_text())["steps"] for run in runs(study)] == [300] * 4
    assert not list(study.rglob(".lease-*"))


def test_a_search_that_others_carry_out(options: list[str], tmp_path: Path) -> None:
    study = tmp_path / "study"
    short = ["--steps", "20", "--validate-every", "10", "--tune", "2"]
    handed_over([*options, *short], study, tmp_path / "log")
    with ExitStack() as stack:
        workers = [
            stack.enter_context(counterpoint(tmp_path / f"log-{number}", "work", study))
            for number in range(2)
        ]
        for worker in workers:
            assert worker.ends() == 0, worker.output
    assert len(list(study.glob("tuning/*/trial-*/run.json"))) == 4
    assert states(study) == ["finished"] * 4
    assert all(plan["searched"] for plan in json.loads((study / "plan.json").read_text()).values())
    assert (study / "report.html").exists()


_QUICK_TO_NOTICE = """
import sys
from counterpoint.execution import lease
lease.HEARTBEAT, lease.STALE = 0.5, 5.0
from counterpoint.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_work_that_hangs_loses_its_run(options: list[str], undisturbed: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    handed_over(options, study, tmp_path / "log")
    words = [sys.executable, "-c", _QUICK_TO_NOTICE, "work", study]
    with started(tmp_path / "hangs", *words) as hangs:
        hangs.wait_until(lambda: any(study.glob("runs/*/*/checkpoint/step-*")), "a checkpoint")
        hangs.press(signal.SIGSTOP)
        with started(tmp_path / "other", *words) as other:
            assert other.ends() == 0, other.output
        check(study, undisturbed)
        hangs.press(signal.SIGCONT)
        hangs.ends(60)
        assert "was taken over while this process hung" in hangs.output
    check(study, undisturbed)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Return a Ray cluster of a head and two machines that work, with a processor and, so they say, a GPU each."""
    with ray_cluster.cluster() as made:
        ray_cluster.machines(made)
        yield made


def test_a_study_on_ray_whose_workers_are_killed(
    options: list[str], undisturbed: Path, moments: Iterator[float], cluster: Any, tmp_path: Path
) -> None:
    study, ended = tmp_path / "study", threading.Event()

    def kill() -> None:
        for moment in itertools.islice(moments, KILLS):
            while not (held := list(study.glob("runs/*/*/.lease-*.json"))) and not ended.is_set():
                time.sleep(0.05)
            ended.wait(moment)
            try:
                os.kill(json.loads(held[0].read_text())["process"], signal.SIGKILL)
            except (OSError, ValueError, IndexError):
                continue  # it has ended meanwhile

    words = [*COMPARE, *options, "--executor", "ray", "--address", cluster.address, "--out", study]
    with counterpoint(tmp_path / "log", *words) as session:
        thread = threading.Thread(target=kill)
        thread.start()
        try:
            status = session.ends(400)
        finally:
            ended.set()
            thread.join()
        assert status == 0, session.output
    check(study, undisturbed)


def test_a_study_on_ray_whose_command_is_killed(
    options: list[str], undisturbed: Path, moments: Iterator[float], cluster: Any, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    there = ["--executor", "ray", "--address", cluster.address, "--out", study]
    words = [sys.executable, "-m", "counterpoint", *COMPARE, *options, *there]
    disturbed(tmp_path / "log", words, study, moments)
    check(study, undisturbed)


def test_runs_of_several_gpus_are_jobs_of_ray_train_which_outlive_a_process(
    options: list[str], cluster: Any, tmp_path: Path
) -> None:
    words = ["compare", "clip", "siglip", *options, "--steps", "40", "--seeds", "1", "--validate-every", "40"]
    there = ["--executor", "ray", "--address", cluster.address, "--gpus-per-run", "2"]
    with counterpoint(tmp_path / "log", *words, "--jobs", "1", "--out", tmp_path / "one") as session:
        assert session.ends() == 0, session.output
    with counterpoint(tmp_path / "log", *words, *there, "--out", tmp_path / "two") as session:
        session.wait_until(lambda: any(tmp_path.glob("two/runs/*/*/checkpoint/step-*")), "a checkpoint")
        (held,) = tmp_path.glob("two/runs/*/*/.lease-*.json")
        os.kill(json.loads(held.read_text())["process"], signal.SIGKILL)
        assert session.ends(400) == 0, session.output
    assert states(tmp_path / "two") == ["finished"] * 2
    assert (tmp_path / "two" / "report.html").exists()
    for run in runs(tmp_path / "two"):
        losses = [
            pl.read_parquet(folder / "metrics.parquet").filter(name="loss")["value"].to_list()
            for folder in (run, tmp_path / "one" / run.relative_to(tmp_path / "two"))
        ]
        assert losses[0] == pytest.approx(
            losses[1], rel=1e-3
        )  # float32: Adam's first steps enlarge its rounding
