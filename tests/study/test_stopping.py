"""Commands that are stopped, killed or started twice: nothing is lost, nothing is done twice, nobody lives on."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.commands import Session, counterpoint, started
from fixtures.compared import runs, steps
from fixtures.killed_studies import COMPARE, Undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.system]

ARMS = ("clip", "siglip")


def end_of(session: Session) -> Callable[[], bool]:
    return lambda: not session.alive()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_study_begins_no_run_and_goes_on_bit_exactly(
    number: signal.Signals, options: list[str], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped"
    words = [*COMPARE, *options, "--jobs", "2", "--out", stopped]
    with counterpoint(tmp_path / "log", *words) as session:
        session.wait_until(lambda: [steps(run) > 0 for run in runs(stopped)] == [True] * 2, "two runs")
        begun = runs(stopped)
        if number == signal.SIGTERM:
            os.kill(session.process.pid, number)  # as a scheduler does; a terminal reaches every process
        else:
            session.press(number)
        assert session.ends() == 128 + number
        session.wait_until(end_of(session), "all processes to end", 10)
        by = "Ctrl-C" if number == signal.SIGINT else number.name
        assert session.output.strip().endswith(f"stopped by {by}; the same command goes on from here.")
        assert "Traceback" not in session.output
    assert runs(stopped) == begun
    assert not list(stopped.rglob(".lease-*"))
    if number == signal.SIGINT:
        with counterpoint(tmp_path / "log", *words) as session:
            assert session.ends() == 0, session.output
        undisturbed.check(stopped)


def test_no_run_lives_on_without_its_study(options: list[str], tmp_path: Path) -> None:
    study = tmp_path / "study"
    words = ["compare", *ARMS, *options, "--steps", "100000", "--seeds", "2", "--jobs", "2", "--out", study]
    with counterpoint(tmp_path / "log", *words) as session:
        session.wait_until(lambda: [steps(run) > 0 for run in runs(study)] == [True] * 2, "two runs")
        begun = runs(study)
        session.process.kill()
        session.wait_until(end_of(session), "all processes to end", 15)
    assert runs(study) == begun


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_a_run_that_ends_while_they_begin(
    number: signal.Signals, options: list[str], tmp_path: Path
) -> None:
    words = ["train", "clip", *options, "--workers", "2", "--out", tmp_path / "run"]
    with counterpoint(tmp_path / "log", *words) as session:
        session.wait_until(lambda: len(session.alive()) >= 3, "workers to begin")
        if number == signal.SIGKILL:
            session.process.kill()
        else:
            session.press(number)
            assert session.ends(60) == 130, session.output
            assert session.output.strip().endswith("stopped by Ctrl-C; the same command goes on from here.")
            assert "Traceback" not in session.output
        session.wait_until(end_of(session), "all processes to end", 10)


def test_a_worker_that_the_system_kills_is_named(options: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", "clip", *options, "--steps", "100000", "--workers", "1", "--out", run]
    with counterpoint(tmp_path / "log", *words) as session:
        session.wait_until(lambda: steps(run) > 0, "the run to begin")
        others = [process for process in session.alive() if process != session.process.pid]
        (worker,) = (p for p in others if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes())
        os.kill(worker, signal.SIGKILL)
        assert session.ends(60) == 1
        assert "fewer --workers need less memory; the same command goes on" in session.output
        session.wait_until(end_of(session), "all processes to end", 10)


_SCRIPT = """
import sys
import counterpoint as cp
from counterpoint.recipes import load, override
recipe = override(load("cpu"), {"steps": 4, "batch_size": 8, "workers": 1, "towers.image_size": 16,
                                "towers.vocabulary": 300})
study = cp.compare("clip", "siglip", data=sys.argv[1], seeds=1, jobs=int(sys.argv[3]), recipe=recipe,
                   tasks=("retrieval",), folder=sys.argv[2])
print("sentences:", len(study.sentences))
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_script_without_a_guard_compares(jobs: int, pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(_SCRIPT)
    words = [sys.executable, tmp_path / "study.py", pairs, tmp_path / "study", str(jobs)]
    with started(tmp_path / "log", *words) as session:
        assert session.ends() == 0, session.output
        assert session.output.count("sentences: 1") == 1, session.output


@pytest.mark.parametrize("second", [ARMS, ("clip", "dcl")])
def test_two_commands_on_one_study_both_end_well(
    second: tuple[str, ...], options: list[str], tmp_path: Path
) -> None:
    study = tmp_path / "study"
    common = [*options, "--steps", "100", "--seeds", "1", "--jobs", "2", "--out", study]
    with (
        counterpoint(tmp_path / "a", "compare", *ARMS, *common) as a,
        counterpoint(tmp_path / "b", "compare", *second, *common) as b,
    ):
        assert a.ends() == 0, a.output
        assert b.ends() == 0, b.output
    arms = {arm["name"] for arm in json.loads((study / "summary.json").read_text())["arms"]}
    assert arms == {*ARMS, *second}
    for run in runs(study):
        state = json.loads((run / "run.json").read_text())
        assert (state["status"], state["steps"]) == ("finished", 100)


def test_a_run_in_other_hands_is_refused(options: list[str], tmp_path: Path) -> None:
    words = ["train", "clip", *options, "--steps", "100000", "--out", tmp_path / "run"]
    with counterpoint(tmp_path / "a", *words) as first:
        first.wait_until(lambda: steps(tmp_path / "run") > 0, "the run to begin")
        with counterpoint(tmp_path / "b", *words) as second:
            assert second.ends() == 1
            assert f"is in use by process {first.process.pid} on " in second.output
            assert "Traceback" not in second.output
        assert first.process.poll() is None


def test_a_closed_output_does_not_end_the_training(options: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = f'"{sys.executable}" -m counterpoint "$@" 2>"{tmp_path}/err" | head -1; exit ${{PIPESTATUS[0]}}'
    words = ["bash", "-c", command, "bash", "train", "clip", *options, "--steps", "20", "--out", run]
    with started(tmp_path / "log", *words) as session:
        assert session.ends() == 0, (tmp_path / "err").read_text()
        assert len(session.output.splitlines()) == 1
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
