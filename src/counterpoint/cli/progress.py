"""Progress on a terminal: all the work in one bar, every unit in hand in a line of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from .. import execution
from ..execution import Unit
from .terminal import Terminal


class WorkProgress:
    """Shows how units are carried out: bars on a terminal, elsewhere a line for each unit that has ended."""

    def __init__(self, console: Terminal) -> None:
        self.console = console
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

    def __enter__(self) -> WorkProgress:
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

    def progressed(self, unit: Unit[Any], progress: execution.Progress) -> None:
        if unit.folder not in self.running:
            self.running[unit.folder] = self.bars.add_task(
                f"  {unit.key}", total=progress.total or None, note=""
            )
        counted = f"{progress.done:,}/{progress.total:,}" if progress.total else f"{progress.done:,}"
        self.bars.update(
            self.running[unit.folder], completed=progress.done, note=f"{counted} {progress.note}".rstrip()
        )
        self.shares[unit.folder] = progress.done / progress.total if progress.total else 0.0
        self._advance()

    def ended(self, unit: Unit[Any], result: Any) -> None:
        self.ended_count += 1
        self.shares.pop(unit.folder, None)
        if unit.folder in self.running:
            self.bars.remove_task(self.running.pop(unit.folder))
        self._advance()
        self._say(f"[{self.ended_count}/{self.count}] {unit.key}: {unit.outcome(result)}")

    def waits(self, reason: str) -> None:
        if reason != self.waited_for:
            self.waited_for = reason
            self._say(f"waiting: {reason}")

    def _advance(self) -> None:
        if self.whole is not None:
            self.bars.update(self.whole, completed=self.ended_count + sum(self.shares.values()))

    def _say(self, text: str) -> None:
        self.console.print(text)
