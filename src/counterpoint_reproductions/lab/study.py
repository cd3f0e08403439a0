"""Studies of registered methods: arms trained and evaluated as users do it, whose numbers are scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import polars as pl

from counterpoint.data.base import Data
from counterpoint.evaluation import STATISTICS, evaluate
from counterpoint.evaluation.statistic import name_of as statistic_name
from counterpoint.recipes import Recipe, load, override
from counterpoint.spec import Spec
from counterpoint.statistics.outcomes import AnyStatistic, ArmOutcomes
from counterpoint.study.design import ArmPlan, Budget, Design
from counterpoint.study.layout import run_folder
from counterpoint.study.numbers import StudyScores, name_of
from counterpoint.study.presets import StudyPreset
from counterpoint.study.results import StudyResults
from counterpoint.study.schema import Key
from counterpoint.study.summary import FinishedRun
from counterpoint.training.record.metrics import read_metrics
from counterpoint.training.start import load as load_run
from counterpoint.types import Scores

from . import quick as smoke
from .score import Measurements, Score, of_arm

BATCH = 32
"""Most examples of a batch in a smoke run."""
Of = Literal["start", "end", "mean"]
"""Parts of what a run logged under a name: the first number, the last, or the mean of all."""


@final
@dataclass(frozen=True)
class TrainingComparison:
    """Arms, data and recipe of a claim that compares training runs; a claim calls its main one ``COMPARISON``.

    Attributes:
        arms: an arm as the command line takes it, by its name in the claim's results. The first is the baseline.
            ``{seed}`` in one stands for the seed of the run, so that a run of each seed can begin where one of another
            study with the same seed ended; see `TrainedStudy.each`.
        tasks: evaluation tasks, with the metrics that the claim is about.
        data: a data set's name.
        labels: the label that arms learn from, and what is wrong with it in training, as ``--labels`` takes it.
        recipe: a recipe or its name.
        changes: keys of the recipe, by dotted name.
        steps: of arms that take other steps than the recipe's.
        budget: as a preset on other data, where `steps` do not fit: what all arms get the same of.
        rates: learning rates, of which every arm takes the one that is best on validation under a seed of its own,
            `counterpoint.study.training.tuning.TUNING_SEED`. Of several, an arm with ``{seed}`` needs a run of that
            seed to begin from, too.
        one_rate: all arms take the same one, the best in the mean over them: where what is asked about is smaller than
            what rates make that arms took by chance.
        candidates: further settings of an arm, by its name. The one that is best on validation under the seed of
            `rates` takes the arm's part, so that the comparison is of fixed arms.
        margin: differences within ± this are equivalent.
        seeds: how many, from 0, or these; see `Lab.seeds`.
    """

    arms: Mapping[str, str]
    tasks: Mapping[str, tuple[str, ...]]
    data: str = "digits"
    labels: str = ""
    recipe: str | Recipe = "seconds"
    changes: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)
    budget: Budget = "steps"
    rates: tuple[float, ...] = ()
    one_rate: bool = False
    candidates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    margin: float = 0.01
    seeds: int | Sequence[int] = 5

    def design(self, seeds: tuple[int, ...], quick: bool = False) -> Design:
        """Return the design of the study; a smoke run has the first and the last arm, fewer examples and few steps."""
        recipe = load(self.recipe) if isinstance(self.recipe, str) else self.recipe
        recipe = override(recipe, self.changes)
        arms = tuple(dict.fromkeys(self.selected(quick).values()))
        if quick:
            less = {
                "steps": smoke.reduced("steps", recipe.total_steps),
                "batch_size": min(recipe.batch_size, BATCH),
            }
            recipe = override(recipe, less)
        return Design(
            arms,
            data=smoke.smaller(self.data) if quick else self.data,
            labels=smoke.unthinned(self.labels) if quick else self.labels,
            seeds=seeds,
            recipe=recipe,
            margin=self.margin,
            tasks=tuple(self.tasks),
        )

    def selected(self, quick: bool) -> dict[str, str]:
        """Return the arm that stands for each name: itself, or in a smoke run the nearer end of the list."""
        names = tuple(self.arms)
        return {name: self.arms[smoke.nearest_end(names, name) if quick else name] for name in names}

    def preset(self, slug: str, about: str) -> StudyPreset:
        """Return the comparison as a preset of ``counterpoint compare``, for whatever data a user has."""
        arms = tuple(dict.fromkeys(self.arms.values()))
        return StudyPreset(slug, about, {"arms": arms}, arms[0], self.tasks, self.budget, self.margin)


@final
class TrainedStudy:
    """A study whose runs came to their end.

    Attributes:
        arms: an arm as the command line takes it, by its name here.
        results: the runs and their numbers, by arm as the command line takes it.
        plans: of every arm, by its name: steps, and the learning rate where it was chosen.
    """

    def __init__(
        self,
        arms: Mapping[str, str],
        results: StudyResults[FinishedRun],
        folder: Path,
        plans: Mapping[str, ArmPlan],
        quick: bool = False,
    ) -> None:
        self.results, self.arms, self._folder, self._quick = results, arms, folder, quick
        self.plans = {name: plans[arm] for name, arm in arms.items()}
        self._made: dict[str, TrainedScores] = {}
        self._asked: dict[tuple[str, str], dict[str, dict[int, Scores | None]]] = {}

    def key(self, metric: str, test: str | None = None, subset: str = "all", arms: Sequence[str] = ()) -> Key:
        """Return the key of a metric.

        Args:
            metric: task and metric, as ``"probe knn_digit_top1"``.
            test: the test set; the first unless given.
            subset: of the test set.
            arms: by name, those that have the metric; all unless given.

        Raises:
            KeyError: if the runs have no such metric; names those that they have.
        """
        task, _, name = metric.partition(" ")
        known = self._of(arms).definitions
        for key in known:
            if (key[0], key[2], key[3]) == (task, subset, name) and test in {None, key[1]}:
                return key
        raise KeyError(
            f"no run measured {metric!r}; there are {', '.join(sorted({f'{k[0]} {k[3]}' for k in known}))}"
        )

    def _of(self, arms: Sequence[str]) -> StudyScores:
        """Return the numbers of some arms, which have more metrics in common than all; of all where none is named."""
        numbers = self.results.numbers
        return numbers.of_arms([*dict.fromkeys(self.arms[name] for name in arms)]) if arms else numbers

    def scores(
        self, metric: str, test: str | None = None, subset: str = "all", arms: Sequence[str] = ()
    ) -> TrainedScores:
        """Return a metric of arms as scores, indexed by their names; see `key` for the arguments."""
        key, numbers = self.key(metric, test, subset, arms), self._of(arms)
        statistic = STATISTICS[numbers.definitions[key].statistic]
        return self._scores(name_of(key), numbers.outcomes(key), statistic)

    def pooled(self, metric: str) -> TrainedScores:
        """Return a metric of all arms over the examples of all test sets, as scores; see `key` for the argument."""
        task, _, subset, name = self.key(metric)
        keys = [key for key in self.results.numbers.definitions if (key[0], *key[2:]) == (task, subset, name)]
        by_test = [self.outcomes(key) for key in keys]
        pooled = {
            spec: {seed: _joined([outcomes[arm][seed] for outcomes in by_test]) for seed in by_test[0][arm]}
            for arm, spec in self.arms.items()
        }
        return self._scores(
            f"{task} {name}", pooled, STATISTICS[self.results.numbers.definitions[keys[0]].statistic]
        )

    def outcomes(self, key: Key) -> dict[str, Mapping[int, np.ndarray | None]]:
        """Return the outcomes behind one number under every seed, of the arms that are trained."""
        by_arm = self.results.numbers.outcomes(key)
        return {n: by_seed for n, arm in self.arms.items() if isinstance(by_seed := by_arm[arm], Mapping)}

    def diagnostics(self, name: str) -> TrainedScores:
        """Return a diagnostic of the first test set, a number a run, as scores; as ``"uniformity_image"``."""
        return self._numbers(f"diagnostics {name}", lambda run: next(iter(run.diagnostics.values()))[name])

    def logged(self, name: str, of: Of = "end") -> TrainedScores:
        """Return what runs logged under a name as scores, the one at the start or at the end, or the mean of all.

        As ``"learnt/objective.temperature"``, or ``"loss"``.
        """
        return self._numbers(f"{name}, {of}", lambda run: _logged(run.folder, name, of))

    def on(self, data: Data, metric: str) -> TrainedScores:
        """Return a metric of all arms on the first test set of other data, as of ``counterpoint evaluate``, as scores.

        Args:
            data: what the models are evaluated on.
            metric: task and metric, as ``"probe knn_digit_top1"``.
        """
        task, _, name = metric.partition(" ")
        found = self._scored_on(data, task)
        outcomes = {
            arm: {seed: None if scores is None else scores.outcomes(name) for seed, scores in by_seed.items()}
            for arm, by_seed in found.items()
        }
        there = [scores for by_seed in found.values() for scores in by_seed.values() if scores is not None]
        statistic: AnyStatistic = "mean"
        if there:
            statistic = STATISTICS[statistic_name(there[0].metrics[name].statistic)]
        # The options of both, and folders, would fill lines of the page.
        label = f"{task.partition(',')[0]} {name}, on {Path(data.name.partition(',')[0]).name}"
        return self._scores(label, outcomes, statistic, of=f"{metric}, {data.name}")

    def _scored_on(self, data: Data, task: str) -> dict[str, dict[int, Scores | None]]:
        """Return what a task says of every run on the first test set of other data, None for a run that failed.

        It is asked once, whichever of its metrics are wanted.
        """
        if (data.name, task) in self._asked:
            return self._asked[data.name, task]
        test = dict([next(iter(data.splits.test.items()))])

        def scored(folder: Path) -> Scores:
            model = load_run(folder)
            ((scores,),) = evaluate(model, data.suited(model.inputs), [task], test).by_test.values()
            # In the order of those that runs were scored with, which `scores` has.
            return replace(scores, examples=scores.examples.sort("example"))

        self._asked[data.name, task] = {
            arm: {seed: None if run.scored is None else scored(run.folder) for seed, run in runs.items()}
            for arm, runs in self.results.runs.items()
        }
        return self._asked[data.name, task]

    def _numbers(self, metric: str, read: Callable[[FinishedRun], float]) -> TrainedScores:
        numbers = {
            arm: {seed: None if run.scored is None else float(read(run)) for seed, run in runs.items()}
            for arm, runs in self.results.runs.items()
        }
        return self._scores(metric, numbers, by_seed=True)

    def _scores(
        self,
        metric: str,
        outcomes: Mapping[str, ArmOutcomes],
        statistic: AnyStatistic = "mean",
        *,
        by_seed: bool = False,
        of: str = "",
    ) -> TrainedScores:
        """Return the scores of a metric; the same ones whenever it is asked for, so that an expression has an arm once.

        An arm that has two names is one, but in a smoke run, where it stands for others. ``of`` says what is measured
        where ``metric``, which readers see, is shorter.
        """
        of = of or metric
        if of not in self._made:
            there = {name: arm for name, arm in self.arms.items() if arm in outcomes}
            arms = {name: Measurements(name, outcomes[arm], by_seed) for name, arm in there.items()}
            if not self._quick:
                by_spec = {arm: arms[name] for name, arm in there.items()}
                arms = {name: by_spec[arm] for name, arm in there.items()}
            self._made[of] = TrainedScores(metric, arms, statistic)
        return self._made[of]

    def folder(self, name: str, seed: int) -> Path:
        """Return the folder of a run, whose model `counterpoint.training.start.load` reads."""
        return run_folder(self._folder, Spec.parse(self.arms[name]).slug, seed)

    def each(self, name: str) -> Path:
        """Return the folders of an arm's runs as one, with ``{seed}`` for the seed, as an arm of a comparison may."""
        return self.folder(name, 0).with_name("seed-{seed}")


@final
class TrainedScores:
    """One number of all arms of a study; ``accuracy["m = 0.9"]`` is the score of one arm."""

    def __init__(self, metric: str, arms: Mapping[str, Measurements], statistic: AnyStatistic) -> None:
        self.metric, self.arms, self.statistic = metric, arms, statistic

    def __getitem__(self, name: str) -> Score:
        if name not in self.arms:
            raise KeyError(f"{name!r} is no arm of the study ({', '.join(self.arms)})")
        return of_arm(self.arms[name], (name,), self.metric, self.statistic)

    def means(self, digits: int = 3) -> str:
        """Return the mean over seeds of every arm in words, for a note."""
        parts = []
        for name in self.arms:
            estimate = self[name].measure().estimate
            parts.append(f"{name} {'failed' if estimate is None else format(estimate, f'.{digits}f')}")
        return ", ".join(parts)


def _joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return the outcomes of all test sets in a row; None for a run that failed."""
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None


def _logged(folder: Path, name: str, of: Of) -> float:
    values = read_metrics(folder).filter(pl.col("name") == name).sort("step")["value"].to_numpy()
    return float({"start": values[0], "end": values[-1], "mean": values.mean()}[of])
