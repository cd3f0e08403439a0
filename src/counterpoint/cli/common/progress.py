"""Progress of work: on a terminal bars, a line for every unit in hand; elsewhere lines, for people or for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, final

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from ... import execution
from ...execution import Unit
from .terminal import Terminal

LogFormat = Literal["text", "json"]
"""Form of progress: for people, or as JSON lines."""
_EVERY = 60.0
"""Seconds between two lines about one thing, elsewhere than on a terminal."""


def progress_in(log_format: LogFormat, console: Terminal) -> WorkProgress | JsonLines:
    """Return the listener that shows progress in a form."""
    return JsonLines() if log_format == "json" else WorkProgress(console)


@final
class _Minutes:
    """Clock that says when something is to be told of again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[Hashable, float] = {}

    def over(self, what: Hashable) -> bool:
        """Return whether a minute has passed since something was told of, or first heard of."""
        now = self._clock()
        if now - self._last.setdefault(what, now) < _EVERY:
            return False
        self._last[what] = now
        return True


@contextmanager
def counting(
    console: Terminal, what: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """Show how many of some things are done, of how many, as often as the function that it gives is told.

    On a terminal that is a bar, elsewhere a line a minute.
    """
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    minutes = _Minutes(clock)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task("", total=None)

        def notify(done: int, total: int) -> None:
            bars.update(bar, completed=done, total=total)
            if not console.is_terminal and minutes.over(what):
                console.print(f"{done:,} of {total:,} {what}")

        yield notify


@final
class WorkProgress:
    """Shows how units are carried out: bars on a terminal; elsewhere a line a minute for each, and one at its end."""

    def __init__(self, console: Terminal, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self._minutes = console, _Minutes(clock)
        self.bars = Progress(
            TextColumn("{task.description:<28}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self.running: dict[Path, TaskID] = {}
        self.shares: dict[Path, float] = {}
        self.whole: TaskID | None = None
        self.count = self.ended_count = 0
        self.waited_for = ""

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def begin(self, title: str, units: Sequence[Unit[Any]]) -> None:
        if self.whole is not None:
            self.bars.remove_task(self.whole)
        for task in self.running.values():
            self.bars.remove_task(task)
        self.running, self.shares, self.count, self.ended_count = {}, {}, len(units), 0
        self.whole = self.bars.add_task(title, total=len(units) or None, note="")
        if not units:
            self._say(f"{title} …")

    def progressed(self, unit: Unit[Any], progress: execution.UnitProgress) -> None:
        if unit.folder not in self.running:
            self.running[unit.folder] = self.bars.add_task(
                f"  {unit.key}", total=progress.total or None, note=""
            )
        counted = f"{progress.done:,}/{progress.total:,}" if progress.total else f"{progress.done:,}"
        line = f"{counted} {progress.note}".rstrip()
        self.bars.update(self.running[unit.folder], completed=progress.done, note=line)
        if not self.console.is_terminal and self._minutes.over(unit.folder):
            left = progress.numbers.get("seconds_left")
            self._say(f"{unit.key}: {line}" + (f", {in_words(left)} left" if left is not None else ""))
        self.shares[unit.folder] = progress.done / progress.total if progress.total else 0.0
        self._advance()

    def ended(self, unit: Unit[Any], result: Any) -> None:
        self.ended_count += 1
        self.shares.pop(unit.folder, None)
        if unit.folder in self.running:
            self.bars.remove_task(self.running.pop(unit.folder))
        self._advance()
        self._say(f"[{self.ended_count}/{self.count}] {unit.key}: {unit.outcome(result)}")

    def words(self, what: str) -> Callable[[str], None]:
        """Return a function that tells, in words, how work besides the units goes on."""
        bar = self.bars.add_task(what, total=None, note="")

        def notify(text: str) -> None:
            self.bars.update(bar, note=text)
            if not self.console.is_terminal and self._minutes.over(what):
                self._say(f"{what}: {text}")

        return notify

    def waits(self, reason: str) -> None:
        if reason != self.waited_for:
            self.waited_for = reason
            self._say(f"waiting: {reason}")

    def _advance(self) -> None:
        if self.whole is not None:
            self.bars.update(self.whole, completed=self.ended_count + sum(self.shares.values()))

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


@final
class JsonLines:
    """Writes how units are carried out to standard error as JSON lines: for each one a minute, and one at its end.

    Every line has an ``event`` (``begin``, ``progress``, ``ended``, ``waiting``) and a ``time`` in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._minutes = _Minutes(clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def begin(self, title: str, units: Sequence[Unit[Any]]) -> None:
        self._say("begin", title=title, units=[unit.key for unit in units])

    def progressed(self, unit: Unit[Any], progress: execution.UnitProgress) -> None:
        if self._minutes.over(unit.folder):
            self._say("progress", unit=unit.key, done=progress.done, total=progress.total, **progress.numbers)

    def ended(self, unit: Unit[Any], result: Any) -> None:
        self._say("ended", unit=unit.key, outcome=unit.outcome(result))

    def waits(self, reason: str) -> None:
        self._say("waiting", reason=reason)

    def _say(self, event: str, **values: Any) -> None:
        print(
            json.dumps({"event": event, "time": round(time.time(), 3), **values}), file=sys.stderr, flush=True
        )


def in_words(seconds: float) -> str:
    """Write a time that is left.

    >>> in_words(42), in_words(600), in_words(100_000)
    ('42 s', '10 min', '27.8 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
