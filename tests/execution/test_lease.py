"""A folder is worked on by one process at a time, and a dead process keeps none."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from counterpoint.execution import lease
from counterpoint.execution.folders import contents
from counterpoint.execution.holder import Holder, mark
from counterpoint.execution.lease import (
    STALE,
    InUseError,
    LeaseLostError,
    check_held,
    holder,
    last_beat,
    leased,
)
from counterpoint.execution.state import FILE, State, finish
from counterpoint.execution.unit import OnProgress, UnitProgress
from counterpoint.execution.watch import standings


def write(folder: Path, by: Holder, age: float = 0.0) -> Path:
    """A lease's file that was last touched ``age`` seconds ago."""
    path = folder / ".lease-other.json"
    path.write_text(json.dumps(asdict(by)))
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def gone() -> Holder:
    """A process of this machine that has ended."""
    code = (
        "import json; from counterpoint.execution.holder import *; print(json.dumps(vars(Holder.present())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Holder(**json.loads(done.stdout))


def test_the_second_comer_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with leased(tmp_path / "run"):
        assert holder(tmp_path / "run") is not None
        with (
            pytest.raises(
                InUseError, match=rf"run is in use by process {os.getpid()} on .* since \d{{4}}-"
            ) as told,
            leased(tmp_path / "run"),
        ):
            pass
        assert told.value.holder.process == os.getpid()
    with leased(tmp_path / "run"):
        pass


_KILLED_WHILE_IT_WRITES = """
import os, signal, sys
from pathlib import Path
from counterpoint.execution.lease import leased
Path.replace = lambda part, path: os.kill(os.getpid(), signal.SIGKILL)
with leased(Path(sys.argv[1])):
    pass
"""


def test_nothing_left_of_process_was_killed_while_it_took_folder(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED_WHILE_IT_WRITES, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (part,) = tmp_path.iterdir()
    others = [tmp_path / ".lease-one.part", part.with_name(f".lease-two.elsewhere-{os.getpid() + 1}.part")]
    for path in others:
        path.touch()
    with leased(tmp_path):
        assert not part.exists()
        assert all(path.exists() for path in others), "of other machines, which may be at it"


def test_a_folder_in_which_nothing_was_written_goes_again(tmp_path: Path) -> None:
    with leased(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a").exists()
    with leased(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "kept").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["kept"]


def test_a_folder_in_which_a_process_was_killed_counts_as_empty(tmp_path: Path) -> None:
    assert contents(tmp_path / "not-there") == []
    for name in (".begun.json.here.1.1.part", ".lease-one.json", ".lease-two.elsewhere-1.part"):
        (tmp_path / name).touch()
    assert contents(tmp_path) == []
    (tmp_path / "mine.txt").touch()
    assert contents(tmp_path) == contents(tmp_path / "mine.txt") == [tmp_path / "mine.txt"]


def test_folder_holder_removes_while_it_is_taken_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, look, looks = tmp_path / "cells" / "unit", lease._leases, []

    def removed_behind_the_first_look(path: Path, but: Path | None = None) -> list[lease._Lease]:
        found = look(path, but)
        if not looks:
            path.rmdir()
            path.parent.rmdir()
        looks.append(path)
        return found

    monkeypatch.setattr(lease, "_leases", removed_behind_the_first_look)
    with leased(folder):
        assert (held := holder(folder)) is not None
        assert held.process == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lease_outlives_a_change_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with leased(Path("run")):
        monkeypatch.chdir(tmp_path / "elsewhere")
        (path,) = (tmp_path / "run").glob(".lease-*.json")
        os.utime(path, (0, 0))
        until(lambda: path.stat().st_mtime > 0)
        assert path.stat().st_mtime > 0
    assert list((tmp_path / "run").iterdir()) == []


def test_an_error_gives_the_folder_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), leased(tmp_path):
        raise ZeroDivisionError
    assert holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_gone_holds_nothing(tmp_path: Path, gone: Holder) -> None:
    path = write(tmp_path, gone)
    with leased(tmp_path):
        assert not path.exists()


def test_another_process_of_the_same_number_is_not_the_holder(tmp_path: Path) -> None:
    present = Holder.present()
    write(tmp_path, replace(present, started=present.started - 1))
    assert holder(tmp_path) is None
    write(tmp_path, present)
    assert holder(tmp_path) == present
    write(tmp_path, present, age=STALE + 10)
    assert holder(tmp_path) is None, "it hangs"


@pytest.mark.parametrize(
    ("age", "held"), [(0.0, True), (STALE - 10, True), (STALE + 10, False), (-STALE - 10, False)]
)
def test_a_process_elsewhere_lives_as_long_as_it_beats(
    tmp_path: Path, age: float, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    write(tmp_path, replace(Holder.present(), host="elsewhere", machine="another"), age)
    assert (holder(tmp_path) is not None) == held
    if held:
        with pytest.raises(InUseError, match="on elsewhere since"), leased(tmp_path):
            pass
    else:
        with leased(tmp_path):
            pass


def test_the_file_is_touched_while_the_folder_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    with leased(tmp_path):
        (path,) = tmp_path.glob(".lease-*.json")
        os.utime(path, (0, 0))
        for _ in range(500):
            if path.stat().st_mtime > 0:
                break
            time.sleep(0.01)
        assert path.stat().st_mtime > time.time() - STALE


def test_a_file_that_is_removed_comes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    with leased(tmp_path):
        (path,) = tmp_path.glob(".lease-*.json")
        path.unlink()
        for _ in range(500):
            if path.exists():
                break
            time.sleep(0.01)
        assert holder(tmp_path) is not None


def test_a_damaged_file_is_nobodys(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"host": "x"}'):
        (tmp_path / ".lease-x.json").write_text(text)
        assert holder(tmp_path) is None


def test_a_folder_that_goes_while_it_is_looked_at_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda _: True)  # so it was a moment ago
    assert holder(tmp_path / "gone") is None


def test_who_waits_gets_the_folder_when_it_is_free(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with leased(tmp_path, wait=True):
            order.append("second")

    with leased(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_of_many_takers_one_at_a_time_holds_the_folder(tmp_path: Path, gone: Holder) -> None:
    folder, inside, most, turns = tmp_path / "run", [0], [0], [0]
    folder.mkdir()
    write(folder, gone)
    (folder / "kept").touch()

    def take() -> None:
        for _ in range(5):
            with leased(folder, wait=True):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                turns[0] += 1
                time.sleep(0.002)
                inside[0] -= 1

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most[0], turns[0]) == (1, 30)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"cannot write to .*file.run: .*choose another folder with --out"
    with pytest.raises(OSError, match=message), leased(tmp_path / "file" / "run"):
        pass


def elsewhere(**different: Any) -> Holder:
    """A process of another machine."""
    return replace(Holder.present(), host="elsewhere", machine="another", **different)


def test_a_process_elsewhere_is_not_looked_up_here(tmp_path: Path, gone: Holder) -> None:
    write(tmp_path, elsewhere(process=gone.process, started=gone.started))
    assert holder(tmp_path) is not None
    with pytest.raises(InUseError, match="on elsewhere since"), leased(tmp_path):
        pass


def test_who_only_looks_changes_nothing(tmp_path: Path, gone: Holder) -> None:
    files = {
        ".lease-dead.json": json.dumps(asdict(gone)),
        ".lease-hangs.json": json.dumps(asdict(Holder.present())),
        ".lease-away.json": json.dumps(asdict(elsewhere())),
        ".lease-damaged.json": "{",
        f".lease-written.{mark_of(gone)}.part": "{",
        f".lease-lost.{mark_of(gone)}.taken": "{",
        f".{FILE}": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (0, 0))
    State("working", UnitProgress(1, 3), "", "here", 1, 0.0, 0.0).write(tmp_path)
    assert holder(tmp_path) is None
    assert last_beat(tmp_path) is None
    assert [standing.status for standing in standings(tmp_path, time.time())] == ["lost"]
    assert {path.name for path in tmp_path.iterdir()} == {*files, FILE}


def mark_of(holder: Holder) -> str:
    return f"{mark().partition('-')[0]}-{holder.process}"


@pytest.mark.parametrize("off", [-300.0, 300.0])
def test_reader_whose_clock_is_off_sees_holder_and_takes_nothing(
    tmp_path: Path, off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time
    with leased(tmp_path):
        before = list(tmp_path.iterdir())
        State("working", UnitProgress(1, 3), "", "here", 1, 0.0, 0.0).write(tmp_path)
        monkeypatch.setattr(time, "time", lambda: right() + off)
        beat = last_beat(tmp_path)
        assert beat is not None
        assert beat[1] < STALE / 2
        (standing,) = standings(tmp_path, time.time())
        assert (standing.status, standing.at) == ("working", pytest.approx(time.time(), abs=STALE / 2))
        with pytest.raises(InUseError), leased(tmp_path):
            pass
        assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / FILE])
        check_held(tmp_path)


@pytest.mark.parametrize("jump", [-300.0, 300.0])
def test_a_clock_of_the_file_server_that_jumps_takes_nothing(
    tmp_path: Path, jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, elsewhere(), age=jump)
    monkeypatch.setattr(time, "sleep", lambda _: os.utime(path))  # the next beat, by the clock as it is now
    with pytest.raises(InUseError), leased(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_a_taker_that_was_suspended_itself_waits_for_a_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, right, pauses = write(tmp_path, elsewhere(), age=STALE + 10), time.monotonic, [0]

    def suspended(_: float) -> None:
        pauses[0] += 1
        if pauses[0] == 2:  # both wake, and the other one beats only now
            os.utime(path)

    monkeypatch.setattr(time, "sleep", suspended)
    monkeypatch.setattr(time, "monotonic", lambda: right() + 1000 * pauses[0])
    with pytest.raises(InUseError), leased(tmp_path):
        pass


def test_a_holder_that_wakes_while_its_folder_is_taken_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    path, rename = write(tmp_path, elsewhere(), age=STALE + 10), Path.rename

    def beaten_first(source: Path, target: Path) -> Path:
        if target.suffix == ".taken":
            os.utime(source)
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", beaten_first)
    with pytest.raises(InUseError), leased(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_a_sleeper_whose_folder_nobody_took_goes_on(tmp_path: Path) -> None:
    with leased(tmp_path):
        (path,) = tmp_path.glob(".lease-*.json")
        os.utime(path, (0, 0))
        assert holder(tmp_path) is None
        check_held(tmp_path)
        path.unlink()
        check_held(tmp_path)
        assert path.exists()
        assert holder(tmp_path) is not None


def test_holder_whose_file_removed_ends_where_another_has_come(tmp_path: Path) -> None:
    with leased(tmp_path):
        (path,) = tmp_path.glob(".lease-*.json")
        path.unlink()
        write(tmp_path, elsewhere())
        with pytest.raises(LeaseLostError):
            check_held(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lease-other.json"]


_FINISHES = """
import sys
from pathlib import Path
from counterpoint.execution import lease
lease.HEARTBEAT = 0.01
with lease.leased(Path(sys.argv[1])):
    Path(sys.argv[1], "done").touch()
"""


def finished_by_another(folder: Path) -> None:
    """Let another process take a folder that this one holds, as if this one was suspended, and finish there."""
    (path,) = folder.glob(".lease-*.json")
    os.utime(path, (0, 0))
    subprocess.run([sys.executable, "-c", _FINISHES, str(folder)], check=True)


def test_a_sleeper_whose_folder_was_finished_meanwhile_ends(tmp_path: Path) -> None:
    with leased(tmp_path):
        finished_by_another(tmp_path)
        assert holder(tmp_path) is None
        with pytest.raises(LeaseLostError, match=f"another process took over {tmp_path}"):
            check_held(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "done"]


@dataclass(frozen=True)
class _Overtaken:
    """A unit that another process finishes meanwhile.

    Attributes:
        folder: of the unit.
        speaks: tell of progress afterwards.
    """

    folder: Path
    speaks: bool
    key: ClassVar[str] = "overtaken"
    lighter: ClassVar[str] = ""

    def read(self) -> int | None:
        return None

    def work(self, on_progress: OnProgress) -> int:
        finished_by_another(self.folder)
        State("done", UnitProgress(3, 3), "by another", "there", 1, 0.0, 0.0).write(self.folder)
        if self.speaks:
            on_progress(UnitProgress(1, 3))
            (self.folder / "written over").touch()
        return 1

    def outcome(self, result: int) -> str:
        return "by this one"


@pytest.mark.parametrize("speaks", [True, False])
def test_unit_finished_by_another_between_two_heartbeats_is_left(tmp_path: Path, speaks: bool) -> None:
    with pytest.raises(LeaseLostError), leased(tmp_path):
        finish(_Overtaken(tmp_path, speaks))
    state = State.read(tmp_path)
    assert state is not None
    assert (state.status, state.words) == ("done", "by another")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done", FILE]


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened() and time.monotonic() < end:
        time.sleep(0.01)


def test_thread_that_holds_lost_folder_is_told_and_process_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    errors: list[LeaseLostError] = []

    def hold(folder: Path) -> None:
        with leased(folder):
            (path,) = folder.glob(".lease-*.json")
            path.rename(path.with_suffix(".taken"))
            with pytest.raises(LeaseLostError, match=f"took over {folder}") as error:
                until(lambda: False)
        errors.append(error.value)

    hold(tmp_path / "main")
    thread = threading.Thread(target=hold, args=(tmp_path / "thread",))
    thread.start()
    thread.join()
    assert len(errors) == 2
    assert list(tmp_path.iterdir()) == []


_HANGS = """
import itertools, sys, time
from pathlib import Path
from counterpoint.execution import lease
lease.HEARTBEAT, lease.STALE = 0.1, 1.0
folder = Path(sys.argv[1])
with lease.leased(folder):
    print("held", flush=True)
    for step in itertools.count():
        time.sleep(0.05)
        lease.check_held(folder)
        with open(folder / "written", "a") as file:
            print(step, file=file)
"""


@pytest.mark.slow
@pytest.mark.system
def test_hanging_process_loses_its_folder_and_ends_when_it_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "STALE", 1.0)
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    folder = tmp_path / "run"
    words = [sys.executable, "-c", _HANGS, str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as hangs:
        assert hangs.stdout is not None
        assert hangs.stdout.readline() == "held\n"
        with pytest.raises(InUseError), leased(folder):
            pass
        os.kill(hangs.pid, signal.SIGSTOP)
        with leased(folder, wait=True):
            before = len((folder / "written").read_text().splitlines())
            os.kill(hangs.pid, signal.SIGCONT)
            _, said = hangs.communicate(timeout=30)
            assert hangs.returncode == 1
            assert f"another process took over {folder} while this one was suspended" in said
            # The signal may stop the process between its check and its write: this one write ends, no other begins.
            assert len((folder / "written").read_text().splitlines()) <= before + 1


def test_stale_handle_of_file_another_process_took_loses_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with leased(tmp_path):
        (mine,) = tmp_path.glob("*.json")
        mine.rename(mine.with_suffix(".taken"))
        monkeypatch.setattr(os, "utime", stale)
        with pytest.raises(LeaseLostError):
            lease.check_held(tmp_path)


def test_a_lease_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, elsewhere())
    read, stale = Path.read_text, iter([OSError(errno.ESTALE, "Stale file handle")])

    def read_text(path: Path, **options: Any) -> str:
        for error in stale:
            raise error
        return read(path, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
    assert lease.holder(tmp_path) is not None
