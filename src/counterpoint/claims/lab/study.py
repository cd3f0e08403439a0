"""Studies of registered methods: arms trained and evaluated as users do it, whose numbers are scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import polars as pl

from ...evaluation import STATISTICS
from ...methods.arm import slug_of
from ...recipes import Recipe, load, override
from ...study.design import ArmPlan, Design
from ...study.layout import run_folder
from ...study.numbers import name_of
from ...study.presets import Preset
from ...study.results import StudyResults
from ...study.schema import Key
from ...study.summary import FinishedRun
from ...training.metrics import read_metrics
from . import quick as smoke
from .score import Arm, Score, of_arm

BATCH = 32
"""Most examples of a batch in a smoke run."""


@final
@dataclass(frozen=True)
class Comparison:
    """Arms, data and recipe of a claim that compares training runs; a claim calls its main one ``COMPARISON``.

    Attributes:
        arms: an arm as the command line takes it, by its name in the claim's results. The first is the baseline.
        tasks: evaluation tasks, with the metrics that the claim is about.
        data: a data set's name.
        recipe: a recipe or its name.
        changes: keys of the recipe, by dotted name.
        steps: of arms that take other steps than the recipe's.
        rates: learning rates, of which every arm takes the one that is best on validation under a seed of its own.
        margin: differences within ± this are equivalent.
        seeds: how many, from 0.
    """

    arms: Mapping[str, str]
    tasks: Mapping[str, tuple[str, ...]]
    data: str = "digits"
    recipe: str | Recipe = "seconds"
    changes: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)
    rates: tuple[float, ...] = ()
    margin: float = 0.01
    seeds: int = 5

    def design(self, seeds: tuple[int, ...], quick: bool = False) -> Design:
        """Return the design of the study; a smoke run has the first and the last arm, and a hundredth of the steps."""
        recipe = load(self.recipe) if isinstance(self.recipe, str) else self.recipe
        recipe = override(recipe, self.changes)
        arms = tuple(dict.fromkeys(self.kept(quick).values()))
        if quick:
            less = {
                "steps": smoke.reduced("steps", recipe.total_steps),
                "batch_size": min(recipe.batch_size, BATCH),
            }
            recipe = override(recipe, less)
        return Design(
            arms,
            data=self.data,
            seeds=seeds,
            recipe=recipe,
            margin=self.margin,
            tasks=tuple(self.tasks),
        )

    def kept(self, quick: bool) -> dict[str, str]:
        """Return the arm that stands for each name: itself, or in a smoke run the nearer end of the list."""
        names = tuple(self.arms)
        return {name: self.arms[smoke.nearest_end(names, name) if quick else name] for name in names}

    def preset(self, slug: str, about: str) -> Preset:
        """Return the comparison as a preset of ``counterpoint compare``, for whatever data a user has."""
        arms = tuple(dict.fromkeys(self.arms.values()))
        return Preset(slug, about, {"arms": arms}, arms[0], self.tasks, margin=self.margin)


@final
class Trained:
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
    ) -> None:
        self.results, self.arms, self._folder = results, arms, folder
        self.plans = {name: plans[arm] for name, arm in arms.items()}
        self._made: dict[tuple[str, object], Arm] = {}

    def key(self, metric: str, test: str | None = None, subset: str = "all") -> Key:
        """Return the key of a metric.

        Args:
            metric: task and metric, as ``"probe knn_digit_top1"``.
            test: the test set; the first unless given.
            subset: of the test set.

        Raises:
            KeyError: if the runs have no such metric; names those that they have.
        """
        task, _, name = metric.partition(" ")
        known = self.results.numbers.definitions
        for key in known:
            if (key[0], key[2], key[3]) == (task, subset, name) and test in {None, key[1]}:
                return key
        raise KeyError(
            f"no run measured {metric!r}; there are {', '.join(sorted({f'{k[0]} {k[3]}' for k in known}))}"
        )

    def scores(self, metric: str, test: str | None = None, subset: str = "all") -> TrainedScores:
        """Return a metric of all arms as scores, indexed by their names; see `key` for the arguments."""
        key = self.key(metric, test, subset)
        return TrainedScores(self, name_of(key), key)

    def outcomes(self, key: Key) -> dict[str, Mapping[int, np.ndarray | None]]:
        """Return the outcomes behind one number under every arm and seed."""
        found = self.results.numbers.outcomes(key)
        return {name: found[arm] for name, arm in self.arms.items()}

    def diagnostics(self, name: str) -> TrainedScores:
        """Return a diagnostic of the first test set, a number a run, as scores; as ``"uniformity_image"``."""
        return TrainedScores(self, f"diagnostics {name}", name)

    def logged(self, name: str, first: bool = False) -> TrainedScores:
        """Return the last logged number of a name, or the first, as scores; as ``"learnt/objective.temperature"``."""
        return TrainedScores(self, f"{name} at the {'start' if first else 'end'}", ("logged", name, first))

    def arm(self, name: str, what: object) -> Arm:
        """Return an arm; the same one whenever the same is asked for, so that an expression has it once."""
        if name not in self.arms:
            raise KeyError(f"{name!r} is no arm of the study ({', '.join(self.arms)})")
        arm = self.arms[name]
        if (arm, what) not in self._made:
            self._made[arm, what] = self._make(name, arm, what)
        return self._made[arm, what]

    def _make(self, name: str, arm: str, what: object) -> Arm:
        if isinstance(what, str):
            return Arm(name, self._numbers(arm, lambda run: next(iter(run.diagnostics.values()))[what]), True)
        if isinstance(what, tuple) and what[0] == "logged":
            _, number, first = what
            return Arm(name, self._numbers(arm, lambda run: _logged(run.folder, number, first)), True)
        return Arm(name, self.results.numbers.outcomes(what)[arm])  # type: ignore[arg-type] # a key

    def _numbers(self, arm: str, read: Callable[[FinishedRun], float]) -> dict[int, float | None]:
        return {
            seed: None if run.scored is None else float(read(run))
            for seed, run in self.results.runs[arm].items()
        }

    def folder(self, name: str, seed: int) -> Path:
        """Return the folder of a run, whose model `counterpoint.training.run.load` reads."""
        return run_folder(self._folder, slug_of(self.arms[name]), seed)


@final
class TrainedScores:
    """One number of all arms of a study; ``accuracy["m = 0.9"]`` is the score of one arm."""

    def __init__(self, study: Trained, metric: str, what: object) -> None:
        self.study, self.metric, self._what = study, metric, what

    def __getitem__(self, name: str) -> Score:
        arm = self.study.arm(name, self._what)
        if arm.by_seed:
            return replace(of_arm(arm, (name,), self.metric), label=name)
        definition = self.study.results.numbers.definitions[self._what]  # type: ignore[index] # a key
        return replace(of_arm(arm, (name,), self.metric, STATISTICS[definition.statistic]), label=name)

    def means(self, digits: int = 3) -> str:
        """Return the mean over seeds of every arm in words, for a note."""
        parts = []
        for name in self.study.arms:
            estimate = self[name].measure().estimate
            parts.append(f"{name} {'failed' if estimate is None else format(estimate, f'.{digits}f')}")
        return ", ".join(parts)


def _logged(folder: Path, name: str, first: bool) -> float:
    own = read_metrics(folder).filter(pl.col("name") == name).sort("step")["value"]
    return float(own[0 if first else -1])
