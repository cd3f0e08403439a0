"""Studies here, by `work` and under SLURM, killed at random moments: the runs are those of an undisturbed study."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures import slurm
from fixtures.commands import counterpoint, started
from fixtures.compared import runs
from fixtures.killed_studies import COMPARE, Undisturbed, disturbed, killed, states

pytestmark = [pytest.mark.slow, pytest.mark.system]


def test_a_study_that_is_killed(options: list[str], undisturbed: Undisturbed, tmp_path: Path) -> None:
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
    disturbed(tmp_path / "log", words, tmp_path / "study", undisturbed.moments())
    undisturbed.check(tmp_path / "study")


def handed_over(options: list[str], study: Path, log: Path, *more: str) -> str:
    """Hand a study over to jobs, and return what was said."""
    words = [*COMPARE, *options, *more, "--executor", "slurm", "--out", study]
    with counterpoint(log, *words) as session:
        assert session.ends() == 0, session.output
        assert "sbatch --dependency=afterany" in session.output
        return session.output


def test_a_work_that_is_killed_again_and_again_before_two_end_it(
    options: list[str], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    handed_over(options, study, tmp_path / "log")
    words = [sys.executable, "-m", "counterpoint", "work", study]
    # The jobs of an array are this very command, and are killed as often as any other.
    killed(tmp_path / "log", words, study, undisturbed.moments(), kills=3)
    with (
        counterpoint(tmp_path / "other", "work", study) as other,
        counterpoint(tmp_path / "log", "work", study) as one,
    ):
        assert (other.ends(), one.ends()) == (0, 0), (other.output, one.output)
    undisturbed.check(study)
    with counterpoint(tmp_path / "log", "status", study, "--json") as session:
        assert session.ends() == 0
        assert [run["status"] for run in json.loads(session.output)] == ["done"] * 4


def test_jobs_of_an_array_that_are_killed(
    options: list[str], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    handed_over(options, study, tmp_path / "log")
    array = (study / "slurm" / "runs.sh").read_text()
    assert re.search(r"^#SBATCH --array=1-4$", array, re.MULTILINE)
    # The jobs run `work`, which the test above kills at more moments.
    disturbed(tmp_path / "log", ["bash", study / "slurm" / "runs.sh"], study, undisturbed.moments(), kills=2)
    with started(tmp_path / "log", "bash", study / "slurm" / "end.sh") as session:
        assert session.ends() == 0, session.output
    undisturbed.check(study)


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


def test_a_work_that_hangs_loses_its_run(
    options: list[str], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    handed_over(options, study, tmp_path / "log")
    words = [sys.executable, "-c", _QUICK_TO_NOTICE, "work", study]
    with started(tmp_path / "hangs", *words) as hangs:
        hangs.wait_until(lambda: any(study.glob("runs/*/*/checkpoint/step-*")), "a checkpoint")
        hangs.press(signal.SIGSTOP)
        with started(tmp_path / "other", *words) as other:
            assert other.ends() == 0, other.output
        undisturbed.check(study)
        hangs.press(signal.SIGCONT)
        hangs.ends(60)
        assert "counterpoint work: another process took over" in hangs.output
        assert hangs.process.returncode == 1
    undisturbed.check(study)
    assert not list(study.rglob(".lease-*"))
