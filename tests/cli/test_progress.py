"""Progress of work, on a terminal and elsewhere: one line, of everything that is worth knowing."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from counterpoint.cli.common.progress import JsonLines, WorkProgress, counting, progress_in
from counterpoint.cli.common.terminal import Terminal
from counterpoint.execution import UnitProgress
from fixtures.units import Counting

NUMBERS = {"loss": 2.31, "seconds_left": 300.0}


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def _console() -> Terminal:
    console = Terminal()
    console.file = io.StringIO()
    return console


def _lines(console: Terminal) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_elsewhere_than_on_a_terminal_there_is_a_line_a_minute(clock: _Clock, tmp_path: Path) -> None:
    console, units = _console(), [Counting(name, tmp_path / name) for name in "ab"]
    with WorkProgress(console, clock) as progress:
        progress.begin("training", units)
        for second in range(130):
            clock.now = float(second)
            for unit in units:
                progress.progressed(unit, UnitProgress(second, 1000, "loss 2.310", NUMBERS))
    assert _lines(console) == [
        f"{unit.key}: {done}/1,000 loss 2.310, 5 min left" for done in (60, 120) for unit in units
    ]


def test_counted_elsewhere_than_on_terminal_is_told_once_minute(clock: _Clock) -> None:
    console = _console()
    with counting(console, "rows", clock) as notify:
        for second in range(130):
            clock.now = float(second)
            notify(10 * second, 1300)
    assert _lines(console) == ["600 of 1,300 rows", "1,200 of 1,300 rows"]


def test_words_about_work_besides_are_told_once_a_minute(clock: _Clock) -> None:
    console = _console()
    with WorkProgress(console, clock) as progress:
        notify = progress.words("dcc")
        for cell in range(6):
            clock.now = 25.0 * cell
            notify(f"cell {cell}")
    assert _lines(console) == ["dcc: cell 3"]


def test_json_lines_hold_the_numbers(
    clock: _Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = Counting("a", tmp_path)
    with JsonLines(clock) as progress:
        progress.begin("training", [unit])
        for clock.now in (0.0, 30.0, 61.0):
            progress.progressed(unit, UnitProgress(7, 100, "loss 2.310", NUMBERS))
        progress.waits("somebody has it")
        progress.ended(unit, 100)
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [json.loads(line) for line in printed.err.splitlines()]
    assert all(line.pop("time") > 0 for line in lines)
    assert lines == [
        {"event": "begin", "title": "training", "units": [unit.key]},
        {"event": "progress", "unit": unit.key, "done": 7, "total": 100, **NUMBERS},
        {"event": "waiting", "reason": "somebody has it"},
        {"event": "ended", "unit": unit.key, "outcome": unit.outcome(100)},
    ]


def test_the_form_decides_who_tells() -> None:
    assert isinstance(progress_in("json", _console()), JsonLines)
    assert isinstance(progress_in("text", _console()), WorkProgress)
