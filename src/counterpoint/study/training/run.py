"""Training run as a unit of work: one arm under one seed, trained and evaluated in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from ... import execution
from ...data.base import Data
from ...data.source import load_any
from ...files import latest_checkpoint
from ...recipes import parse as parse_recipe
from ...training.loop import Progress
from ...training.metrics import read_metrics
from ...training.provenance import Provenance
from ...training.run import Run, RunState
from ..summary import FinishedRun
from .runner import run


@final
@dataclass(frozen=True)
class TrainingRun:
    """A run and where it goes.

    Attributes:
        run: what is trained.
        folder: the run's folder.
        tasks: names of evaluation tasks; unless given, all that the arm's model can be asked.
        test: evaluate on the test sets; tuning uses False.
        track: trackers besides Parquet that its numbers go to.
    """

    run: Run
    folder: Path
    tasks: tuple[str, ...] | None = None
    test: bool = True
    track: tuple[str, ...] = ()

    lighter: ClassVar[str] = "a smaller --microbatch, fewer --workers or fewer --jobs need less memory"

    @property
    def key(self) -> str:
        return f"{self.run.arm}, seed {self.run.seed}"

    def read(self) -> RunState | None:
        """Read how the run ended; None where it has not.

        Raises:
            OtherRun: if the folder holds another run, or one of other data, another loss or other weights.
        """
        state = RunState.read(self.folder)
        if state is None or state.status == "running":
            return None
        self.run.check(self.folder)
        data = load_any(self.run.data, self.run.recipe.towers.image_size)
        self.made_of(data).check(data, self.folder)
        return state

    def made_of(self, data: Data) -> Provenance:
        """Return the provenance that the run would have if the run began now."""
        return Provenance.of(self.run, data)

    def check_files(self) -> None:
        """Read all that the run has so far.

        Raises:
            Damaged: for a file that cannot be read.
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
        def on_step(now: Progress) -> None:
            note = f"loss {now.loss:.3f}" if now.step < now.steps else "evaluating"
            on_progress(execution.Progress(now.step, now.steps, note))

        return run(self.run, self.folder, tasks=self.tasks, test=self.test, on_step=on_step, track=self.track)

    def outcome(self, result: RunState) -> str:
        ended = "done" if result.status == "finished" else f"FAILED: {result.reason.split(';')[0]}"
        return f"{ended} ({result.steps} steps, {result.seconds:.0f} s)"

    def plain(self) -> dict[str, Any]:
        return {
            "run": self.run.plain(),
            "folder": str(self.folder),
            "tasks": self.tasks,
            "test": self.test,
            "track": self.track,
        }

    @classmethod
    def parse(cls, plain: dict[str, Any]) -> TrainingRun:
        run, tasks = plain["run"], plain["tasks"]
        recipe = parse_recipe(run["recipe"], "the recipe")
        return cls(
            Run(run["arm"], run["data"], recipe, run["seed"]),
            Path(plain["folder"]),
            None if tasks is None else tuple(tasks),
            plain["test"],
            tuple(plain["track"]),
        )
