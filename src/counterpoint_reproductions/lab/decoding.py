"""Parts that claims of decoding methods share: the shipped small model, asked about worlds that break its habits.

The model has learned that some things come in pairs; in the test set ``broken`` a thing's partner is never there. And
all pictures are bad ones: there it falls back on what it has learned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from counterpoint.data.base import Rows
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.decoding import describe
from counterpoint.decoding.assistant import VisionLanguageAssistant
from counterpoint.evaluation import create_answering
from counterpoint.evaluation.prompts import INSTRUCTIONS
from counterpoint.evaluation.statistic import STATISTICS, name_of
from counterpoint.networks.tiny_vlm import default_model_path, world
from counterpoint.study.decoding.arm import DecodingArm
from counterpoint.types import Prompt

from . import Arrays, Grid, GridScores, Lab, Score
from .grid import Point, Runs

SEEDS, PICTURES = 5, 300
TEST = "broken"
SAMPLED: Mapping[str, Any] = {"do_sample": True, "max_new_tokens": 24}
GREEDY: Mapping[str, Any] = {"max_new_tokens": 24}


def bad_pictures() -> Scenes:
    """Return the model's own world, with bad pictures alone (a quarter of those that it learned from are bad)."""
    return Scenes.parse(f"{world()},corrupted=1")


@lru_cache(maxsize=4)
def model(path: str) -> tuple[Any, Any]:
    """Load a model and its processor, once a process."""
    loaded = VisionLanguageAssistant.load(path)
    return loaded.model, loaded.processor


def assistant(arm: str, seed: int, path: str, options: Mapping[str, Any]) -> VisionLanguageAssistant:
    """Return the model, decoded as an arm says."""
    return VisionLanguageAssistant(
        *model(path), DecodingArm.parse(arm).method(seed), batch_size=64, **options
    )


def answered(
    arm: str,
    seed: int,
    task: str,
    pictures: int,
    options: Mapping[str, Any],
    path: str | None = None,
    task_options: Mapping[str, Any] | None = None,
    test: str = TEST,
) -> Arrays:
    """Return the outcomes of a task, one array for each metric and, after a colon, for each subset.

    Examples that a metric does not count are left out; they must be the same for all arms that are compared.

    Args:
        arm: of decoding, as on the command line.
        seed: of the sampling.
        task: a name of `counterpoint.evaluation.TASKS`.
        pictures: that are asked about.
        options: of the assistant.
        path: of the model; the shipped one unless given.
        task_options: of the task.
        test: which test set.
    """
    data = bad_pictures()
    rows: Rows = data.splits.test[test][:pictures]
    vlm = assistant(arm, seed, path or str(default_model_path()), options)
    scores = create_answering(task, **(task_options or {}))(vlm, data, rows, seed=seed)
    outcomes: Arrays = {}
    for name, metric in scores.metrics.items():
        for subset in scores.subsets():
            key = name if subset == "all" else f"{name}: {subset}"
            outcomes[f"{key}|{name_of(metric.statistic)}"] = scores.outcomes(name, subset).astype(float)
    return outcomes


def weight(arm: str, pictures: int, path: str, description_tokens: int | None = None) -> Arrays:
    """Record the weight of a method's contrast, over captions of validation scenes: ``alpha`` a picture and step.

    Args:
        arm: of decoding, as on the command line.
        pictures: that are described.
        path: of the model.
        description_tokens: of the model's own description, for a method that needs one.
    """
    data = bad_pictures()
    rows: Rows = data.splits.validation["as trained"][:pictures]
    vlm = assistant("plain", 0, path, {})
    inputs = vlm.inputs([Prompt(INSTRUCTIONS[0], picture) for picture in data.images(rows)])
    extra = {}
    if description_tokens is not None:
        extra["description"] = describe(vlm.model, inputs, max_new_tokens=description_tokens)
    bound = DecodingArm.parse(arm).method(0).on(inputs, **extra)
    vlm.model.generate(**inputs, custom_generate=bound, max_new_tokens=24, do_sample=False)
    assert bound.weights is not None
    return {"alpha": -np.array([*bound.weights.values()])}


class Replies:
    """Arms of decoding on one task; ``replies["VCD", "f1"]`` is the score of an arm by a metric.

    Args:
        lab: where it is carried out.
        arms: a name → the arm as on the command line.
        task: a name of `counterpoint.evaluation.TASKS`.
        options: of the assistant, of all arms.
        arm_options: options of one arm's assistant besides.
        label: in the names of its differences, where a claim has several of one task.
        drawn: arms that a seed changes, all unless given; the others are decoded once, for every seed.
        settings: further settings of `answered`.
    """

    def __init__(
        self,
        lab: Lab,
        arms: Mapping[str, str],
        task: str,
        options: Mapping[str, Any] = SAMPLED,
        arm_options: Mapping[str, Mapping[str, Any]] | None = None,
        label: str = "",
        drawn: Collection[str] | None = None,
        **settings: Any,
    ) -> None:
        self.task, self.label = task, label
        axes = {
            name: {"arm": arm, "options": {**options, **(arm_options or {}).get(name, {})}}
            for name, arm in arms.items()
        }
        fixed = {"task": task, "pictures": PICTURES, **settings}
        once = {name: axis for name, axis in axes.items() if drawn is not None and name not in drawn}
        often = {name: axis for name, axis in axes.items() if name not in once}
        runs: dict[Point, Runs] = {}
        if often:
            runs |= lab.grid(answered, {"arm": often}, seeds=SEEDS, **fixed).runs
        if once:
            alone = lab.grid(answered, {"arm": once}, seeds=(0,), **fixed).runs
            runs |= {point: dict.fromkeys(lab.seeds(SEEDS), by_seed[0]) for point, by_seed in alone.items()}
        self._grid = Grid({"arm": tuple(arms)}, {(name,): runs[name,] for name in arms})

    def __getitem__(self, key: tuple[str, str]) -> Score:
        """Return an arm's score by a metric; ``metric: subset`` for a subset's.

        Raises:
            KeyError: for a metric that the task does not give.
        """
        arm, metric = key
        scores = self._scores(metric)
        return scores[arm].about(metric + self.label)

    def _scores(self, metric: str) -> GridScores:
        first = self._grid.first(next(iter(self._grid)))
        name = next((key for key in first if key.rpartition("|")[0] == metric), None)
        if name is None:
            raise KeyError(f"{self.task} gives no {metric!r}; it gives {', '.join(sorted(first))}")
        about = f"{self.task} {metric}, bad pictures of {TEST} pairs"
        return self._grid.scores(name, about, STATISTICS[name.rpartition("|")[2]])

    def mean(self, arm: str, metric: str) -> float:
        """Return an arm's score, the mean over its seeds."""
        scores = self._scores(metric)
        statistic = scores.statistic
        assert callable(statistic)
        return float(np.mean([statistic(run) for run in scores.values(arm)]))

    def sentence(self, metric: str) -> str:
        """Return the scores of the arms in words, for a note."""
        parts = (f"{arm} {self.mean(arm, metric):.3f}" for arm in self._grid.axes["arm"])
        return f"{self.task} {metric}: {', '.join(parts)}."
