"""Runs of a study that came to their end, and the numbers in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar, final, runtime_checkable

from ..evaluation import create
from ..files import DamagedFileError
from ..reasons import counted, listing
from ..statistics.bootstrap import FEW_SEEDS
from .agreement import check_agreement
from .numbers import StudyScores
from .schema import FailedRun, Key
from .scored import RunScores


@runtime_checkable
class EndedRun(Protocol):
    """An arm under a seed that came to its end."""

    @property
    def scored(self) -> RunScores | None:
        """Scores of the run; None where it failed."""
        ...

    @property
    def reason(self) -> str:
        """Reason why it failed; empty where it did not."""
        ...


R = TypeVar("R", bound=EndedRun)


@final
class StudyResults(Generic[R]):
    """All runs of a study that came to their end, by arm and seed, and the numbers in them.

    Attributes:
        folder: of the study.
        runs: those that finished or failed; arms that have none are left out.
        seeds: those that have such a run.
        unfinished: the seeds of the other runs, for each arm that has some.
        margin: differences within ± this are equivalent.
        fixed: the arms that are not trained, and so ran under the first seed alone.
    """

    def __init__(
        self,
        folder: Path,
        arms: Sequence[str],
        seeds: Sequence[int],
        read: Callable[[str, int], R | None],
        margin: float,
        fixed: Collection[str] = (),
    ) -> None:
        runs = {
            arm: {seed: read(arm, seed) for seed in (seeds[:1] if arm in fixed else seeds)} for arm in arms
        }
        ended = {
            arm: {seed: run for seed, run in by_seed.items() if run is not None}
            for arm, by_seed in runs.items()
        }
        self.runs: dict[str, dict[int, R]] = {arm: by_seed for arm, by_seed in ended.items() if by_seed}
        self.unfinished = {
            arm: [seed for seed, run in by_seed.items() if run is None]
            for arm, by_seed in runs.items()
            if None in by_seed.values()
        }
        if not self.runs:
            raise ValueError(f"{folder} has no finished run: run the study's command again to finish some")
        self.seeds = tuple(seed for seed in seeds if any(seed in by_seed for by_seed in self.runs.values()))
        self.folder, self.margin = folder, margin
        self.fixed = [arm for arm in self.runs if arm in fixed]

    @cached_property
    def numbers(self) -> StudyScores:
        """Return the numbers of all arms under the seeds whose runs ended; unfinished runs are left out."""
        scored = {arm: {seed: run.scored for seed, run in runs.items()} for arm, runs in self.runs.items()}
        return StudyScores(scored, self.margin, self.fixed)

    def each(self) -> Iterator[tuple[str, int, R]]:
        """Yield every run with its arm and seed."""
        return ((arm, seed, run) for arm, runs in self.runs.items() for seed, run in runs.items())

    def finished(self, arm: str | None = None) -> list[R]:
        """Return the runs, of one arm or of all, that did not fail."""
        return [run for name, _, run in self.each() if arm in {None, name} and run.scored is not None]

    def failed(self, arm: str) -> list[FailedRun]:
        """Return the failed runs of an arm."""
        runs = self.runs[arm].items()
        return [FailedRun(seed=seed, reason=run.reason) for seed, run in runs if run.scored is None]

    def check(self) -> None:
        """Check that there is something to summarise, and that it can be compared.

        Raises:
            RuntimeError: if every run failed; the message gives the first reason.
            OtherRunError: if runs were not made of the same.
        """
        if not self.finished():
            reason = next(run.reason for _, _, run in self.each())
            raise RuntimeError(f"every run failed; the first reason: {reason}")
        check_agreement(self._folders(), self.folder)

    def main_metrics(self, tasks: Sequence[str]) -> list[Key]:
        """Return what verdicts are about: each task's primary metric on each test set, where all arms have one."""
        return self.numbers.main({task: create(task).primary for task in tasks})

    def headline(self, tasks: Sequence[str]) -> Key:
        """Return what the verdict is about first: a main metric, or where all arms share none, one that most have.

        Raises:
            ValueError: if there is none.
        """
        headline = self.numbers.headline(self.main_metrics(tasks))
        if headline is None:
            raise ValueError(
                f"{self.folder}: tasks {', '.join(tasks)} gave no number that all arms have on the same test examples: "
                "no test example may have the label, or it has one class only; choose other --tasks"
            )
        return headline

    def of_few_seeds(self) -> list[str]:
        """Return what fewer seeds than verdicts want cannot show."""
        if len(self.seeds) >= FEW_SEEDS:
            return []
        return [
            f"{counted(len(self.seeds), 'seed')}: verdicts are suggestive at most. Add seeds with --seeds {FEW_SEEDS} "
            "and the same folder; what is finished is not repeated."
        ]

    def _of_two_seeds(self) -> list[str]:
        """Return a line on why the intervals of arms with two finished runs are wide."""
        trained = [arm for arm in self.runs if arm not in self.fixed]
        two = [arm for arm in trained if len(self.finished(arm)) == 2]
        if not two:
            return []
        which = "2 seeds" if two == trained else f"{listing(two)}: 2 finished runs"
        return [
            f"{which}: the 95 % intervals are wide, because an interval over 2 seeds reaches 12.7 standard errors to "
            "each side; over 3 seeds it reaches 4.3, over 5 2.8"
        ]

    def _folders(self) -> list[Path]:
        """Return the folders of all runs, or of their units, that did not fail."""
        return [f for run in self.finished() if run.scored is not None for f in run.scored.folders]

    def warnings(self) -> list[str]:
        """Return warnings of the runs that are unfinished or failed."""
        lines = []
        if self.unfinished:
            named = "; ".join(
                f"{arm} (seed {', '.join(map(str, seeds))})" for arm, seeds in self.unfinished.items()
            )
            lines.append(f"unfinished and left out: {named}: run the study's command again to finish them")
        lines += self._of_two_seeds()
        for arm, runs in self.runs.items():
            if failed := self.failed(arm):
                seeds = ", ".join(str(run.seed) for run in failed)
                lines.append(
                    f"{arm} failed on {len(failed)} of {len(runs)} seeds ({seeds}): "
                    f"{failed[0].reason.split(';')[0]}"
                )
        return lines


def damage(error: DamagedFileError, folder: Path) -> str:
    """Return the reason that a run failed whose file cannot be read."""
    return f"damaged: {error.path.relative_to(folder).as_posix()} ({error.reason})"
