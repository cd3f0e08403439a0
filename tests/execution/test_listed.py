"""Units that a folder lists are taken by whoever sees the folder, once each, and tell how they stand."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoint.cli import main
from counterpoint.execution import (
    FollowUp,
    Local,
    UnitFailedError,
    UnitProgress,
    WorkList,
    lease,
    leased,
    work,
)
from counterpoint.execution.listed import FILE, NOTHING
from counterpoint.execution.orders import WorkItem, given_in
from counterpoint.execution.state import State
from counterpoint.execution.watch import UNSEEN, standings
from counterpoint.units import STEPS
from fixtures.commands import Session, started
from fixtures.units import PYTHONPATH, Counting, Heard


def three(folder: Path, **options: object) -> list[Counting]:
    return [Counting(name, folder / "runs" / name, **options) for name in ("a", "b", "c")]  # type: ignore[arg-type]


def listed(folder: Path, units: list[Counting], then: FollowUp = NOTHING) -> None:
    WorkList.of("counting", units, folder, then).write(folder)


def test_a_list_is_carried_out_wherever_its_folder_is(tmp_path: Path) -> None:
    listed(tmp_path / "study", three(tmp_path / "study"))
    moved = (tmp_path / "study").rename(tmp_path / "elsewhere")
    heard = Heard()
    work(moved, listener=heard)
    assert heard.ends == ["a: counted to 3", "b: counted to 3", "c: counted to 3"]
    work(moved)
    assert [len(unit.steps) for unit in three(moved)] == [3, 3, 3], "nothing was done twice"


def test_the_folder_of_another_user_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lists no units of work: give the folder of a study"):
        work(tmp_path)
    with pytest.raises(
        ValueError, match=r"is not to be seen from here: .*on a disk that this machine shares"
    ):
        work(tmp_path / "none")


def test_relative_names_count_from_where_the_work_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "began").mkdir()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "began")
    listed(Path("study"), three(Path("study")))
    monkeypatch.chdir(tmp_path / "other")
    work("../began/study")
    assert (tmp_path / "began" / "study" / "runs" / "a" / "done").exists()
    assert Path.cwd() == tmp_path / "other"


def further(folder: Path, name: str) -> None:
    """List one unit more."""
    listed(folder, [Counting(name, folder / name)])


def ended(folder: Path) -> None:
    (folder / "ended").touch()


def test_what_comes_then_comes_when_all_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "test-further", f"{__name__}:further")
    listed(tmp_path, three(tmp_path), FollowUp("test-further", {"name": "last"}))
    work(tmp_path)
    work(tmp_path)
    assert Counting("last", tmp_path / "last").read() == 3


def test_units_in_other_hands_are_left_or_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "test-ended", f"{__name__}:ended")
    units = three(tmp_path)
    listed(tmp_path, units, FollowUp("test-ended", more=False))
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with leased(units[0].folder):
            held.set()
            free.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    work(tmp_path, wait=False)
    assert [unit.read() for unit in units] == [None, 3, 3]
    assert not (tmp_path / "ended").exists()

    class Frees(Heard):
        def waits(self, reason: str) -> None:
            free.set()

    work(tmp_path, listener=Frees())
    thread.join()
    assert [unit.read() for unit in units] == [3, 3, 3]
    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_unit_leaves_its_state_behind(at_once: int, tmp_path: Path) -> None:
    units = three(tmp_path)
    Local(at_once).carry_out(units)
    for unit in units:
        state = State.read(unit.folder)
        assert state is not None
        assert (state.status, state.words, state.progress.done) == ("done", "counted to 3", 3)
        assert (state.process == os.getpid()) == (at_once == 1)
    broken = [Counting("x", tmp_path / "x", fails="error"), Counting("y", tmp_path / "y")]
    with pytest.raises((UnitFailedError, ValueError)):
        Local(at_once).carry_out(broken)
    state = State.read(tmp_path / "x")
    assert state is not None
    assert (state.status, state.words) == ("failed", "two is too much")


def test_a_state_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    for text in ("", "{", "[]", "{}", '{"progress": {}}', '{"progress": 3}'):
        (tmp_path / "progress.json").write_text(text)
        assert State.read(tmp_path) is None


def test_an_order_holds_all_of_its_unit(tmp_path: Path) -> None:
    unit = Counting("a", tmp_path / "study" / "a", total=5)
    order = WorkItem.read(json.loads(json.dumps(WorkItem.of(unit, tmp_path).plain())))
    assert order.folder == "study/a"
    assert order.parse(tmp_path) == unit


def test_a_damaged_list_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    with pytest.raises(
        ValueError, match=r"units.json is damaged .*run the command that began the work again"
    ):
        work(tmp_path)


def test_units_stand_as_their_folders_say(tmp_path: Path) -> None:
    units = [Counting(name, tmp_path / name) for name in "abcde"]
    listed(tmp_path, units)
    Local().carry_out(units[:1])
    with pytest.raises(ValueError, match="two is too much"):
        Local().carry_out([Counting("b", tmp_path / "b", fails="error")])
    ended = State.read(tmp_path / "a")
    assert ended is not None
    for folder in (tmp_path / "c", tmp_path / "d"):
        folder.mkdir()
        replace(ended, status="working", words="", progress=UnitProgress(2, 3)).write(folder)
    with leased(tmp_path / "c"):
        now = time.time()
        found = {standing.key: standing for standing in standings(tmp_path, now)}
        (path,) = (tmp_path / "c").glob(".lease-*.json")
        os.utime(path, (now - 2 * UNSEEN,) * 2)
        silent = {standing.key: standing for standing in standings(tmp_path, now)}
    statuses = {key: standing.status for key, standing in found.items()}
    assert statuses == {"a": "done", "b": "failed", "c": "working", "d": "lost", "e": "waiting"}
    assert silent["c"].status == "silent"
    assert silent["c"].at == pytest.approx(now - 2 * UNSEEN, abs=UNSEEN)
    assert found["b"].words == "two is too much"
    assert found["c"].progress.done == 2
    assert found["c"].where == f"{socket.gethostname()} ({os.getpid()})"
    assert found["e"].at is None
    (alone,) = standings(tmp_path / "a", now)
    assert (alone.key, alone.status) == ("a", "done")


_QUICK_TO_NOTICE = """
import sys
from counterpoint.cli import status
from counterpoint.execution import lease
lease.HEARTBEAT, lease.STALE, status._EVERY = 0.05, 0.5, 0.05
from counterpoint.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.system
def test_work_is_suspended_and_watched_goes_on_when_it_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "STALE", 0.5)
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    study = tmp_path / "study"
    unit = Counting("a", study / "a", total=200, seconds=0.01)
    listed(study, [unit])

    def command(*words: str) -> AbstractContextManager[Session]:
        program = [sys.executable, "-c", _QUICK_TO_NOTICE, *words, str(study)]
        return started(tmp_path / words[0], *program)

    def shown() -> str:
        return standings(study, time.time())[0].status

    with command("work") as worker, command("status", "--watch") as watcher:
        worker.wait_until(lambda: len(unit.steps) > 2, "the work to begin")
        worker.press(signal.SIGSTOP)
        watcher.wait_until(lambda: shown() == "lost", "the work to be shown as lost")
        (before,) = unit.folder.glob(".lease-*.json")
        worker.press(signal.SIGCONT)
        assert worker.ends() == 0, worker.output
        assert watcher.ends() == 0, watcher.output
    assert len(unit.steps) == 200
    assert not before.exists()
    assert not list(unit.folder.glob(".lease-*"))


def test_the_command_shows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    units = [Counting(name, tmp_path / name) for name in "ab"]
    listed(tmp_path, units)
    assert main(["status", str(tmp_path), "--json"]) == 0
    assert [unit["status"] for unit in json.loads(capsys.readouterr().out)] == ["waiting", "waiting"]
    assert main(["work", str(tmp_path)]) == 0
    assert "[2/2] b: counted to 3" in capsys.readouterr().out
    assert main(["status", str(tmp_path), "--watch"]) == 0, "all has ended"
    assert "2 runs: 2 done" in capsys.readouterr().out
    assert main(["status", str(tmp_path / "none")]) == 1
    assert "is not to be seen from here" in capsys.readouterr().err


def test_units_that_name_no_folder_are_given_in_the_current_one() -> None:
    before = Path.cwd()
    with given_in(""):
        assert Path.cwd() == before
