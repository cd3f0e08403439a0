"""The laboratory where a claim's experiment is carried out so that nothing finished is done twice."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import numpy as np

from counterpoint.data.synthetic import WORLDS
from counterpoint.data.synthetic.world import SyntheticData
from counterpoint.execution import Listener, Local, NullListener, ResourceRequest, leased
from counterpoint.spec import Spec
from counterpoint.study.design import ArmPlan, Design
from counterpoint.study.gate import prepare
from counterpoint.study.layout import run_folder, trial_folder
from counterpoint.study.summary import read_results
from counterpoint.study.training.run import TrainingRun
from counterpoint.study.training.tuning import TUNING_SEED, Trial, choose, validation_score
from counterpoint.training.run import RunState

from . import quick as smoke
from .cell import CellListener, ExperimentCell, Function, Notify
from .grid import Arrays, Axes, Grid, Point, Runs, points, settings
from .study import TrainedStudy, TrainingComparison

T = TypeVar("T")
SEEDS = 5
FIRST = tuple(range(SEEDS))
"""Seeds of what the first run decided, or what lies beside: a second run has these too, and no others of it."""
UNSEEN = range(1, 6)
"""Seeds of an experiment whose settings were chosen after a look at seed 0, which would be no test of them."""
TUNING_SEEDS = (1000, 1001)
"""Seeds that choose settings; the tested ones begin at 0."""
SECOND = 2000
"""First seed of a second run, above all those that first runs and choices of settings have; the seed of its worlds."""


@dataclass
class Lab:
    """The place where an experiment is carried out.

    Attributes:
        folder: keeps what is finished: cells and training runs. The same experiment in the same folder goes
            on where it stopped.
        quick: a smoke run: seconds, two seeds, tiny sizes; it proves nothing.
        second: a second run, of as many seeds, none of which the first run had; 0 for a first run. The made data of
            its studies are of another world. Cells of a grid open their data themselves and keep their world.
        examples: how many times the test examples of a first run the made data of studies have.
        pilot: a pilot run on `TUNING_SEEDS`, which plans an experiment and decides nothing.
        jobs: cells or training runs at a time.
        listener: receives every event of training runs.
        notify: called with a line on what is being done.
        notes: what a reader of the evidence should know, collected on the way.
        reused: seconds that earlier calls spent on what this one found finished.
        planned: most seeds that a pilot run was asked for.
    """

    folder: Path
    quick: bool = False
    second: int = 0
    examples: float = 1.0
    pilot: bool = False
    jobs: int = 1
    listener: Listener = field(default_factory=NullListener)
    notify: Notify = lambda text: None
    notes: list[str] = field(default_factory=list)
    reused: float = 0.0
    planned: int = 0

    def seeds(self, full: int | Sequence[int]) -> tuple[int, ...]:
        """Return the seeds of the experiment: as many as ``full`` from 0, or these; at most two in a smoke run.

        A second run has its own number of seeds from `SECOND` wherever a first one has a number or a range of them, and
        a pilot run has `TUNING_SEEDS` there.
        """
        some = range(full) if isinstance(full, int) else full
        if self.pilot and isinstance(some, range):
            self.planned = max(self.planned, len(some))
            return TUNING_SEEDS
        if self.second and isinstance(some, range):
            some = range(SECOND, SECOND + self.second)
        return tuple(some[: smoke.SEEDS] if self.quick else some)

    def grid(
        self, function: Function, axes: Axes, *, seeds: int | Sequence[int] | None = SEEDS, **fixed: Any
    ) -> Grid:
        """Measure a function at every point of some axes under every seed, or read what an earlier call measured.

        A smoke run measures the ends of each axis, and each point stands for the nearest of these; sizes are smaller
        (see `counterpoint_reproductions.lab.quick`).

        Args:
            function: of a module, from settings to arrays; the same settings must give the same arrays.
            axes: a setting's name to its values; or any name to named combinations of settings.
            seeds: how many, from 0, or these; None for a function without the setting ``seed``.
            fixed: settings that are the same everywhere.
        """
        wanted = (None,) if seeds is None else self.seeds(seeds)
        runs = self._measured(function, axes, {point: {} for point in points(axes)}, wanted, fixed)
        return Grid({axis: tuple(values) for axis, values in axes.items()}, runs)

    def tuned(
        self,
        function: Function,
        axes: Axes,
        *,
        over: Mapping[str, Sequence[Any]],
        by: str = "validation",
        seeds: int = SEEDS,
        tuning_seeds: Sequence[int] = TUNING_SEEDS,
        **fixed: Any,
    ) -> Grid:
        """Measure a function as `grid` does, at the best values of some settings for each point.

        Args:
            over: a setting's name to the values that are tried at every point, under seeds of their own.
            by: the array whose mean is largest at the best values; the first of equals is taken.
            tuning_seeds: the seeds that choose, none of which is tested; the first in a smoke run.
        """
        tried = {name: smoke.ends(values) for name, values in over.items()} if self.quick else over
        trying = tuple(tuning_seeds[:1] if self.quick else tuning_seeds)
        candidates = list(points(tried))
        trials = self._measured(
            function,
            {**axes, **tried},
            {(*point, *values): {} for point in points(axes) for values in candidates},
            trying,
            fixed,
        )

        def validation(point: Point, values: Point) -> float:
            return float(np.mean([run[by].mean() for run in trials[*point, *values].values()]))

        chosen: dict[Point, Mapping[str, Any]] = {}
        for point in points(axes):
            best = max(candidates, key=lambda values: validation(point, values))
            chosen[point] = settings(tried, best)
        runs = self._measured(function, axes, chosen, self.seeds(seeds), fixed)
        return Grid({axis: tuple(values) for axis, values in axes.items()}, runs, chosen)

    def world(self, data: str, small: str = "") -> str:
        """Return the name of data; in a smoke run that of a smaller made world, or ``small`` where it is given."""
        return small or smoke.smaller(data) if self.quick else data

    def some(self, values: Sequence[T]) -> tuple[T, ...]:
        """Return the values for which something is computed on the spot; in a smoke run the first two."""
        return smoke.first(values) if self.quick else tuple(values)

    def _measured(
        self,
        function: Function,
        axes: Axes,
        changes: Mapping[Point, Mapping[str, Any]],
        seeds: Sequence[int | None],
        fixed: Mapping[str, Any],
    ) -> dict[Point, Runs]:
        """Return the runs of every point; ``changes`` are settings of single points."""
        measured = {point: self._nearest_point(axes, point) for point in changes}
        units: dict[tuple[Point, int | None], ExperimentCell] = {}
        for point in dict.fromkeys(measured.values()):
            for seed in seeds:
                arguments = {**settings(axes, point), **changes[point], **fixed}
                if self.quick:
                    arguments = {name: smoke.reduced(name, value) for name, value in arguments.items()}
                if seed is not None:
                    arguments["seed"] = seed
                units[point, seed] = ExperimentCell(
                    function, _name(point, changes[point], seed), arguments, self.folder / "cells"
                )
        arrays = dict(zip(units, self._carried_out(list(units.values())), strict=True))
        runs = {
            point: {seed: arrays[point, seed] for seed in seeds} for point in dict.fromkeys(measured.values())
        }
        return {point: runs[kept] for point, kept in measured.items()}

    def _nearest_point(self, axes: Axes, point: Point) -> Point:
        """Return the point that stands for a point: itself, or in a smoke run the nearest ends of the axes."""
        if not self.quick:
            return point
        every = [tuple(values) for values in axes.values()]
        return tuple(smoke.nearest_end(values, value) for values, value in zip(every, point, strict=True))

    def _carried_out(self, units: Sequence[ExperimentCell]) -> list[Arrays]:
        kept = [arrays for unit in units if (arrays := unit.read()) is not None]
        self.reused += sum(float(arrays["seconds"]) for arrays in kept)
        return Local(self.jobs).carry_out(units, CellListener(self.notify, len(units) - len(kept)))

    def study(self, comparison: TrainingComparison, name: str = "study") -> TrainedStudy:
        """Train and evaluate every arm of a comparison under every seed, as far as that is not done yet.

        The runs are those of ``counterpoint compare``: registered methods, the loop, the tasks, and what is checked
        before the first step. A smoke run has the first and the last arm, and a hundredth of the steps.

        Args:
            comparison: what is compared.
            name: of the study's folder.

        Raises:
            ValueError: for whatever can be known to be wrong before anything is trained.
            OtherStudyError: if the folder holds a study of another design.
        """
        study_folder = self.folder / name
        if self.quick:
            arms = {label: smoke.unqueued(arm) for label, arm in comparison.arms.items()}
            comparison = replace(comparison, arms=arms)
        if self.second:
            comparison = replace(comparison, data=other_world(comparison.data, SECOND, self.examples))
        if comparison.candidates:
            comparison = self._with_best_candidates(comparison, self.folder / f"{name}, candidates")
        design = comparison.design(self.seeds(comparison.seeds), self.quick)
        every = tuple(
            dict.fromkeys(comparison.arms.values())
        )  # a smoke run builds those too that it does not train
        prepare(replace(design, arms=every), study_folder)
        with leased(study_folder, wait=True):
            design.reserve(study_folder)
        arms = comparison.selected(self.quick)
        other = {arms[label]: steps for label, steps in comparison.steps.items() if not self.quick}
        plans = {arm: ArmPlan(other.get(arm, design.recipe.total_steps)) for arm in design.arms}
        if comparison.rates:
            plans = self._with_rates(comparison, design, plans, study_folder)
        self._train(
            name,
            [
                TrainingRun(
                    design.run(arm, seed, plans[arm]),
                    run_folder(study_folder, Spec.parse(arm).slug, seed),
                    design.tasks,
                )
                for seed in design.seeds
                for arm in design.arms
            ],
        )
        results = read_results(design, study_folder)
        return TrainedStudy(arms, results, study_folder, plans, quick=self.quick)

    def _with_best_candidates(self, comparison: TrainingComparison, folder: Path) -> TrainingComparison:
        """Return the comparison with the best candidate of each arm; a smoke run keeps the arm as it is."""
        settings = {name: (comparison.arms[name], *some) for name, some in comparison.candidates.items()}
        every = tuple(dict.fromkeys(arm for some in settings.values() for arm in some))
        design = replace(comparison.design((TUNING_SEED,), self.quick), arms=every)
        prepare(design, folder)
        if self.quick:
            return replace(comparison, candidates={})
        trial = Trial(ArmPlan(design.recipe.total_steps))
        folders = {arm: trial_folder(folder, Spec.parse(arm).slug, 0) for arm in every}
        runs = [trial.runs(design, arm, of_arm, ResourceRequest()) for arm, of_arm in folders.items()]
        self._train("settings", [run for of_arm in runs for run in of_arm])
        arms = dict(comparison.arms)
        for name, some in settings.items():
            scores = [validation_score(folders[arm]) for arm in some]
            if max(scores) == -math.inf:
                raise RuntimeError(f"{folder}: every trial of {name!r} failed; see the errors of its runs")
            arms[name] = some[int(np.argmax(scores))]
        return replace(comparison, arms=arms, candidates={})

    def _with_rates(
        self, comparison: TrainingComparison, design: Design, plans: Mapping[str, ArmPlan], study_folder: Path
    ) -> dict[str, ArmPlan]:
        """Return every arm's plan with the learning rate that is best on validation."""
        rates = comparison.rates[: 1 if self.quick else None]
        search = {
            arm: [Trial(replace(plan, changes={"optimizer.lr": rate})) for rate in rates]
            for arm, plan in plans.items()
        }
        if len(rates) == 1:
            return {arm: trials[0].plan for arm, trials in search.items()}
        folders = {
            arm: [trial_folder(study_folder, Spec.parse(arm).slug, number) for number in range(len(rates))]
            for arm in plans
        }
        self._train(
            "learning rates",
            [
                run
                for arm, trials in search.items()
                for trial, folder in zip(trials, folders[arm], strict=True)
                for run in trial.runs(design, arm, folder, ResourceRequest())
            ],
        )
        if not comparison.one_rate:
            return {arm: choose(trials, folders[arm]) for arm, trials in search.items()}
        of_rates = [
            fmean(validation_score(of_arm[number]) for of_arm in folders.values())
            for number in range(len(rates))
        ]
        if max(of_rates) == -math.inf:
            raise RuntimeError(
                f"{study_folder}: at every learning rate ({', '.join(f'{rate:g}' for rate in rates)}) a trial failed; "
                "try smaller ones"
            )
        best = int(np.argmax(of_rates))
        return {arm: trials[best].plan for arm, trials in search.items()}

    def _train(self, title: str, runs: Sequence[TrainingRun]) -> None:
        for run in runs:
            state = RunState.read(run.folder)
            if state is not None and state.status != "running":
                self.reused += state.seconds
        self.listener.begin(title, runs)
        Local(self.jobs).carry_out(runs, self.listener)

    def note(self, *sentences: str) -> None:
        """Add to what a reader of the evidence should know."""
        self.notes.extend(sentences)


def _name(point: Point, changes: Mapping[str, Any], seed: int | None) -> str:
    """Return a file's name for a cell, of letters, digits, dots and dashes."""
    parts = [*point, *changes.values(), *([] if seed is None else [f"seed{seed}"])]
    words = (f"{part:g}" if isinstance(part, float) else str(part) for part in parts)
    return re.sub(r"[^\w.]+", "-", "-".join(words)).strip("-")[:100] or "all"


def other_world(data: str, seed: int, examples: float = 1.0) -> str:
    """Return the name of a made data set under another world seed, with a larger test set; other data stay.

    >>> other_world("scenes:basic,train=100,test=1000", 2000, 2.5)
    'scenes:basic,train=100,test=2500,seed=2000'
    >>> other_world("scenes,seed=3,test=1000", 2000)
    'scenes,seed=2000,test=1000'
    >>> other_world("emoji", 2000)
    'emoji'
    """
    if not is_made(data):
        return data
    spec = Spec.parse(data)
    options = {**spec.options, "seed": str(seed)}
    if "test" in options:
        options["test"] = str(math.ceil(int(options["test"]) * examples))
    return str(Spec(spec.name, options))


def is_made(data: str) -> bool:
    """Return whether a data set's name is that of a world whose rows follow from a seed.

    >>> is_made("scenes:basic"), is_made("emoji"), is_made("pairs.csv")
    (True, False, False)
    """
    name = data.partition(":")[0].partition(",")[0]
    return name in WORLDS and issubclass(WORLDS.get(name), SyntheticData)
