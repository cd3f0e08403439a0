"""Progress on a terminal: the whole study in one bar, every running job in a line of its own."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from .. import training
from ..study.execute import Event, Job
from .terminal import Terminal


class StudyProgress:
    """Shows the events of :func:`counterpoint.study.execute`.

    On a terminal it draws bars (arm, seed, step, loss, time left); elsewhere it prints a line per finished job.
    """

    def __init__(self, console: Terminal) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description:<28}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self.jobs: Sequence[Job] = ()
        self.running: dict[int, TaskID] = {}
        self.steps: dict[int, int] = {}
        self.whole: TaskID | None = None
        self.ended = 0

    def __enter__(self) -> StudyProgress:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def begin(self, title: str, jobs: Sequence[Job]) -> None:
        """A new list of jobs, under a title."""
        if self.whole is not None:
            self.bars.remove_task(self.whole)
        self.jobs, self.running, self.steps, self.ended = jobs, {}, {}, 0
        self.whole = self.bars.add_task(
            title, total=sum(job.what.recipe.total_steps for job in jobs), note="steps"
        )

    def __call__(self, event: Event) -> None:
        job = self.jobs[event.job]
        if event.progress is not None:
            self._advance(event.job, job, event.progress)
        if event.state is not None:
            self._end(event.job, job, event.state)
        if self.whole is not None:
            self.bars.update(self.whole, completed=sum(self.steps.values()))

    def _advance(self, index: int, job: Job, now: training.Progress) -> None:
        if index not in self.running:
            label = f"  {job.what.arm}, seed {job.what.seed}"
            self.running[index] = self.bars.add_task(label, total=now.steps, note="")
        note = f"loss {now.loss:.3f}" if now.step < now.steps else "evaluating"
        self.bars.update(self.running[index], completed=now.step, note=note)
        self.steps[index] = now.step

    def _end(self, index: int, job: Job, state: training.RunState) -> None:
        self.ended += 1
        self.steps[index] = job.what.recipe.total_steps
        if index in self.running:
            self.bars.remove_task(self.running.pop(index))
        outcome = "done" if state.status == "finished" else f"FAILED: {state.reason.split(';')[0]}"
        self.console.print(
            f"[{self.ended}/{len(self.jobs)}] {job.what.arm}, seed {job.what.seed}: {outcome} "
            f"({state.steps} steps, {state.seconds:.0f} s)",
        )
