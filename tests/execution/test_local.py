"""Units are carried out once each, wherever they are carried out, and stop where they can go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from counterpoint.execution import InUseError, Local, StopRequest, UnitFailedError, leased
from fixtures.units import Counting, Heard


def until(happened: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"waited {seconds} seconds for {what}"
        time.sleep(0.02)


def three(folder: Path, **options: object) -> list[Counting]:
    return [Counting(name, folder / name, **options) for name in ("a", "b", "c")]  # type: ignore[arg-type]


@pytest.mark.parametrize("at_once", [1, 2])
def test_each_unit_is_carried_out_once_and_told_of(at_once: int, tmp_path: Path) -> None:
    units, heard = three(tmp_path), Heard()
    assert Local(at_once).carry_out(units, heard) == [3, 3, 3]
    assert sorted(heard.ends) == ["a: counted to 3", "b: counted to 3", "c: counted to 3"]
    assert set(heard.steps) == {"a", "b", "c"}
    assert Local(at_once).carry_out(units) == [3, 3, 3]
    assert [len(unit.steps) for unit in units] == [3, 3, 3], "nothing was done twice"
    here = {process == os.getpid() for unit in units for process in unit.steps}
    assert here == {at_once == 1}
    assert all(len(set(unit.steps)) == 1 for unit in units)
    assert len({unit.steps[0] for unit in units}) == at_once, "processes are used again"


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_unit_goes_on_where_it_stopped(at_once: int, tmp_path: Path) -> None:
    units = three(tmp_path)
    units[1].folder.mkdir()
    (units[1].folder / "steps").write_text("1\n1\n")
    Local(at_once).carry_out(units)
    assert units[1].steps[:2] == [1, 1]
    assert len(units[1].steps) == 3


def test_an_error_here_is_the_units_own(tmp_path: Path) -> None:
    units = [Counting("a", tmp_path / "a"), Counting("b", tmp_path / "b", fails="error")]
    with pytest.raises(ValueError, match="two is too much"):
        Local().carry_out(units)
    assert units[0].read() == 3


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        ("error", r"b: two is too much \(\d of 3 are done; the same command goes on from there\)"),
        ("exit", r"b: its process ended with status 5, at \d+\.\d GB of memory \("),
        (
            "kill",
            r"b: was killed by SIGKILL, as the system does that has no memory left, .*: count to less \(",
        ),
    ],
)
def test_an_error_in_a_child_names_the_unit_and_what_is_done(
    fails: str, message: str, tmp_path: Path
) -> None:
    units = [
        Counting("a", tmp_path / "a"),
        Counting("b", tmp_path / "b", fails=fails),
        Counting("long", tmp_path / "long", total=100_000, seconds=0.01),
    ]
    with pytest.raises(UnitFailedError, match=message) as told:
        Local(2).carry_out(units)
    assert ("ValueError" in "".join(getattr(told.value, "__notes__", []))) == (fails == "error")
    before = len(units[2].steps)
    time.sleep(0.1)
    assert len(units[2].steps) == before < 100_000, "the others were stopped"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_units_in_hand_and_no_other_begins(number: signal.Signals, tmp_path: Path) -> None:
    units = three(tmp_path, total=100_000, seconds=0.01)

    def press() -> None:
        until(lambda: bool(units[0].steps and units[1].steps), "two units to begin")
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(StopRequest) as told:
        Local(2).carry_out(units)
    thread.join()
    assert told.value.number == number
    counts = [len(unit.steps) for unit in units]
    time.sleep(0.2)
    assert [len(unit.steps) for unit in units] == counts
    assert counts[2] == 0
    assert all(process != os.getpid() for unit in units for process in unit.steps)
    assert not any(_alive(unit.steps[0]) for unit in units[:2])


_STUDY = """
import sys
from pathlib import Path
from counterpoint.execution import Local
from fixtures.units import Counting
# No guard: a script is not run again by the processes that its units run in.
print("once", flush=True)
units = [Counting(name, Path(sys.argv[1]) / name, int(sys.argv[2]), seconds=0.01) for name in "abc"]
Local(2).carry_out(units)
"""


def _script(folder: Path, total: int) -> subprocess.Popen[str]:
    (folder / "study.py").write_text(_STUDY)
    tests = Path(__file__).parent.parent
    path = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(folder / "study.py"), str(folder), str(total)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_a_script_without_a_guard_runs(tmp_path: Path) -> None:
    script = _script(tmp_path, 3)
    out, err = script.communicate(timeout=60)
    assert (out, err, script.returncode) == ("once\n", "", 0)
    assert [unit.read() for unit in three(tmp_path)] == [3, 3, 3]


def test_units_end_with_a_parent_that_is_killed_and_none_begins(tmp_path: Path) -> None:
    script, units = _script(tmp_path, 100_000), three(tmp_path)
    try:
        until(lambda: bool(units[0].steps and units[1].steps), "two units to begin")
    finally:
        script.kill()
        script.communicate()
    until(lambda: not any(_alive(unit.steps[0]) for unit in units[:2]), "the children to end", 10)
    assert not units[2].steps
    assert not list(tmp_path.glob("*/.lease-*")), "they gave their folders back"


def test_two_commands_share_their_units(tmp_path: Path) -> None:
    scripts = [_script(tmp_path, 30), _script(tmp_path, 30)]
    for script in scripts:
        _, err = script.communicate(timeout=60)
        assert (script.returncode, err) == (0, "")
    for unit in three(tmp_path):
        assert unit.read() == 30
        assert len(unit.steps) == 30
        assert len(set(unit.steps)) == 1


def test_a_unit_in_other_hands_is_waited_for_or_refused(tmp_path: Path) -> None:
    unit, other, heard = Counting("a", tmp_path / "a"), Counting("b", tmp_path / "b"), Heard()
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with leased(unit.folder):
            held.set()
            free.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    with pytest.raises(InUseError, match="is in use by process"):
        Local(others="refuse").carry_out([unit])

    class Frees(Heard):
        def waits(self, reason: str) -> None:
            super().waits(reason)
            free.set()

    heard = Frees()
    assert Local().carry_out([unit, other], heard) == [3, 3]
    thread.join()
    assert heard.ends == ["b: counted to 3", "a: counted to 3"], "the next one first"
    assert heard.reasons
    assert "is in use by process" in heard.reasons[0]


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False
