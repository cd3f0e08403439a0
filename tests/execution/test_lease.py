"""A folder is worked on by one process at a time, and a dead process keeps none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from counterpoint.execution import lease
from counterpoint.execution.lease import STALE, Holder, InUse, check_held, contents, holder, leased


def write(folder: Path, by: Holder, age: float = 0.0) -> Path:
    """A lease's file that was last touched ``age`` seconds ago."""
    path = folder / ".lease-other.json"
    path.write_text(json.dumps(asdict(by)))
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def gone() -> Holder:
    """A process of this machine that has ended."""
    code = "from counterpoint.execution.lease import *; print(json.dumps(asdict(Holder.present())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Holder(**json.loads(done.stdout))


def test_the_second_comer_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with leased(tmp_path / "run"):
        assert holder(tmp_path / "run") is not None
        with (
            pytest.raises(
                InUse, match=rf"run is in use by process {os.getpid()} on .* since \d{{4}}-"
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


def test_nothing_is_left_of_a_process_that_was_killed_while_it_took_a_folder(tmp_path: Path) -> None:
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


def test_a_folder_that_its_holder_removes_while_it_is_taken_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, look, looks = tmp_path / "cells" / "unit", lease._live, []

    def removed_behind_the_first_look(path: Path, but: Path | None = None) -> list[tuple[Holder, float]]:
        found = look(path, but)
        if not looks:
            path.rmdir()
            path.parent.rmdir()
        looks.append(path)
        return found

    monkeypatch.setattr(lease, "_live", removed_behind_the_first_look)
    with leased(folder):
        assert (held := holder(folder)) is not None
        assert held.process == os.getpid()
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize(("age", "held"), [(0.0, True), (STALE - 10, True), (STALE + 10, False)])
def test_a_process_elsewhere_lives_as_long_as_it_beats(tmp_path: Path, age: float, held: bool) -> None:
    write(tmp_path, replace(Holder.present(), host="elsewhere", machine="another"), age)
    assert (holder(tmp_path) is not None) == held
    if held:
        with pytest.raises(InUse, match="on elsewhere since"), leased(tmp_path):
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


_HANGS = """
import sys, time
from pathlib import Path
from counterpoint.execution import lease
lease.HEARTBEAT, lease.STALE = 0.1, 1.0
folder = Path(sys.argv[1])
with lease.leased(folder):
    print("held", flush=True)
    while True:
        time.sleep(0.05)
        lease.check_held(folder)
        (folder / "written").write_text(str(time.time()))
"""


@pytest.mark.slow
@pytest.mark.system
def test_a_hanging_process_loses_its_folder_and_ends_when_it_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "STALE", 1.0)
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    folder = tmp_path / "run"
    words = [sys.executable, "-c", _HANGS, str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as hangs:
        assert hangs.stdout is not None
        assert hangs.stdout.readline() == "held\n"
        with pytest.raises(InUse), leased(folder):
            pass
        os.kill(hangs.pid, signal.SIGSTOP)
        with leased(folder, wait=True):
            last = (folder / "written").read_text()
            os.kill(hangs.pid, signal.SIGCONT)
            _, said = hangs.communicate(timeout=30)
            assert hangs.returncode == 1
            assert "was taken over while this process hung" in said
            assert (folder / "written").read_text() == last, "nothing was written by who had lost the folder"


def test_a_sleeper_whose_folder_nobody_took_goes_on(tmp_path: Path) -> None:
    with leased(tmp_path):
        (path,) = tmp_path.glob(".lease-*.json")
        os.utime(path, (0, 0))
        lease._holds[tmp_path].touched = 0.0
        check_held(tmp_path)
        assert path.stat().st_mtime > time.time() - STALE
