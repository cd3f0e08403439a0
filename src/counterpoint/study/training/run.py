"""Training run as a unit of work: one arm under one seed, trained and evaluated in its folder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, final

from ... import execution
from ...data.base import Data
from ...files import latest_checkpoint
from ...reasons import a_second
from ...recipes import parse as parse_recipe
from ...training.loop import TrainingProgress
from ...training.record.metrics import read_metrics
from ...training.record.provenance import Provenance
from ...training.run import Run, RunState
from ..opened import open_data
from ..summary import FinishedRun
from .runner import run


@final
@dataclass(frozen=True)
class TrainingRun:
    """A run and where it goes.

    Attributes:
        run: what is trained.
        folder: the run's folder.
        tasks: names of evaluation tasks; unless given, the default ones that the arm's model can be asked.
        test: evaluate on the test sets; tuning uses False.
        track: trackers besides Parquet that its numbers go to.
        needs: what the run needs on a cluster.
    """

    run: Run
    folder: Path
    tasks: tuple[str, ...] | None = None
    test: bool = True
    track: tuple[str, ...] = ()
    needs: execution.ResourceRequest = field(default_factory=execution.ResourceRequest)

    lighter: ClassVar[str] = "a smaller --microbatch, fewer --workers or fewer --jobs need less memory"

    @property
    def key(self) -> str:
        # All trials of a search have one seed, and some differ in the learning rate alone.
        told = f"seed {self.run.seed}" if self.test else self.folder.name.replace("-", " ")
        return f"{self.run.arm}, {told}"

    def read(self) -> RunState | None:
        """Read how the run ended; None where it has not.

        Raises:
            OtherRunError: if the folder holds another run, or one of other data, another loss or other weights.
        """
        state = RunState.read(self.folder)
        if state is None or state.status == "running":
            return None
        self.run.check(self.folder)
        data = open_data(self.run)
        self.made_of(data).check(data, self.folder)
        return state

    def made_of(self, data: Data) -> Provenance:
        """Return the provenance that the run would have if the run began now."""
        return Provenance.of(self.run, data)

    def check_files(self) -> None:
        """Read all that the run has so far.

        Raises:
            DamagedFileError: for a file that cannot be read.
        """
        state = RunState.read(self.folder)
        if state is None:
            return
        if state.status != "running" and self.test:
            FinishedRun.read(self.folder)
            return
        Run.read(self.folder)
        if latest_checkpoint(self.folder / "checkpoint") is not None:
            read_metrics(self.folder)

    def work(self, on_progress: execution.OnProgress) -> RunState:
        def on_step(now: TrainingProgress) -> None:
            note = note_of(now) if now.step < now.steps else "evaluating"
            on_progress(execution.UnitProgress(now.step, now.steps, note, numbers_of(now)))

        return run(self.run, self.folder, tasks=self.tasks, test=self.test, on_step=on_step, track=self.track)

    def outcome(self, result: RunState) -> str:
        ended = "done" if result.status == "finished" else f"FAILED: {result.reason.split(';')[0]}"
        waited = ""
        if result.seconds > 0:
            waited = f", {result.waiting_seconds / result.seconds:.0%} of it waiting for data"
        return f"{ended} ({result.steps} steps, {result.seconds:.0f} s{waited})"

    def plain(self) -> dict[str, Any]:
        return {
            "run": self.run.plain(),
            "tasks": self.tasks,
            "test": self.test,
            "track": self.track,
        }

    @classmethod
    def parse(cls, plain: dict[str, Any], folder: Path, needs: execution.ResourceRequest) -> TrainingRun:
        run, tasks = plain["run"], plain["tasks"]
        recipe = parse_recipe(run["recipe"], "the recipe")
        return cls(
            Run(run["arm"], run["data"], recipe, run["seed"], run.get("labels", "")),
            folder,
            None if tasks is None else tuple(tasks),
            plain["test"],
            tuple(plain["track"]),
            needs,
        )


def numbers_of(now: TrainingProgress) -> dict[str, float]:
    """Return the numbers of a run that trains, by name; those that are not known yet are not among them."""
    numbers = {
        "loss": now.loss,
        "lr": now.lr,
        "pairs_per_second": now.pace.pairs,
        "waiting_for_data": now.pace.waiting,
        "memory_bytes": float(now.memory),
        "seconds": now.seconds,
        "seconds_left": now.pace.left,
    }
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def note_of(now: TrainingProgress) -> str:
    """Write the numbers of a run that trains, but for its step and the time that is left.

    >>> from counterpoint.training.speed.pace import Pace
    >>> note_of(TrainingProgress(12, 90, loss=2.31, lr=1e-3, pace=Pace(350.0, 0.12, 60.0), memory=2**30))
    'loss 2.310, lr 1.0e-03, 350 pairs/s, 12% waiting for data, 1.0 GB'
    >>> note_of(TrainingProgress(12, 90))
    ''
    """
    if math.isnan(now.loss):
        return ""
    speed = f"{a_second(now.pace.pairs)} pairs/s, {now.pace.waiting:.0%} waiting for data"
    return f"loss {now.loss:.3f}, lr {now.lr:.1e}, {speed}, {now.memory / 2**30:.1f} GB"
