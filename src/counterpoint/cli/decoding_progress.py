"""Progress of a study of decoding on a terminal: all units in one bar, the running one beside it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..study.decoding.units import Unit
from .terminal import Terminal


class DecodingProgress:
    """Shows how a study goes: bars on a terminal, elsewhere a line per finished unit."""

    def __init__(self, console: Terminal) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description:<10}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self.whole: TaskID | None = None
        self.ends = self.left = 0
        self.replies = 0
        self.expected: dict[str, int] = {}

    def __enter__(self) -> DecodingProgress:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def begin(self, left: Sequence[Unit], done: int) -> None:
        self.left = len(left)
        if done:
            self.console.print(f"{done} of {done + len(left)} units are finished already")
        self.whole = self.bars.add_task("asking", total=len(left), note="")

    def asked(self, unit: Unit, prompts: int) -> None:
        self.replies += prompts
        # How many questions a task has is known once one arm has been asked it.
        share = min(self.replies / self.expected[unit.task], 1.0) if unit.task in self.expected else 0.0
        if self.whole is not None:
            note = f"{unit.arm}, {unit.task}, seed {unit.seed}: {self.replies:,} replies"
            self.bars.update(self.whole, completed=self.ends + share, note=note)

    def ended(self, unit: Unit) -> None:
        self.ends += 1
        self.expected[unit.task], self.replies = max(self.replies, 1), 0
        if self.whole is not None:
            self.bars.update(self.whole, completed=self.ends)
        self.console.print(
            f"[{self.ends}/{self.left}] {unit.arm}, {unit.task}, seed {unit.seed}: done",
        )
