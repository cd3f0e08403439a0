"""Parts that claims of decoding methods share: the shipped small model, asked about worlds that break its habits.

The model has learned that some things come in pairs; in the test set ``broken`` a thing's partner is never there. And
all pictures are bad ones: there it falls back on what it has learned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Unpack

import numpy as np

from ...catalog.evidence import Result
from ...data.base import Rows
from ...data.worlds.scenes.items.chat import INSTRUCTIONS
from ...data.worlds.scenes.world import Scenes
from ...decoding import describe
from ...decoding.assistant import VisionLanguageAssistant
from ...evaluation.answering import create
from ...evaluation.statistic import STATISTICS, name_of
from ...networks.tiny_vlm import default_model_path, world
from ...statistics.outcomes import ArmOutcomes
from ...study.decoding.arm import DecodingArm
from ...types import Prompt
from ..lab import measure
from ..lab.lab import Arrays, Lab
from ..lab.measure import Rule

SEEDS, PICTURES = 5, 300
TEST = "broken"
SAMPLED: Mapping[str, Any] = {"do_sample": True, "max_new_tokens": 24}
GREEDY: Mapping[str, Any] = {"max_new_tokens": 24}


def bad_pictures() -> Scenes:
    """The model's own world, with bad pictures alone (of those that it learned from, a quarter are bad)."""
    return Scenes.parse(f"{world()},corrupted=1")


@lru_cache(maxsize=4)
def model(path: str) -> tuple[Any, Any]:
    """A model and its processor, loaded once a process."""
    loaded = VisionLanguageAssistant.load(path)
    return loaded.model, loaded.processor


def assistant(arm: str, seed: int, path: str, options: Mapping[str, Any]) -> VisionLanguageAssistant:
    """The model, decoded as an arm says."""
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
    given: Mapping[str, Any] | None = None,
    test: str = TEST,
) -> Arrays:
    """The outcomes of a task, one array for each metric and, after a colon, for each subset.

    Examples that a metric does not count are left out; they must be the same for all arms that are compared.

    Args:
        arm: of decoding, as on the command line.
        seed: of the sampling.
        task: a name of `counterpoint.evaluation.answering.ANSWERING`.
        pictures: that are asked about.
        options: of the assistant.
        path: of the model; the shipped one unless given.
        given: options of the task.
        test: which test set.
    """
    data = bad_pictures()
    rows: Rows = data.splits.test[test][:pictures]
    asked = assistant(arm, seed, path or str(default_model_path()), options)
    scores = create(task, **(given or {}))(asked, data, rows, seed=seed)
    found: Arrays = {}
    for name, metric in scores.metrics.items():
        for subset in scores.subsets():
            key = name if subset == "all" else f"{name}: {subset}"
            found[f"{key}|{name_of(metric.statistic)}"] = scores.outcomes(name, subset).astype(float)
    return found


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
    asked = assistant("plain", 0, path, {})
    inputs = asked.inputs([Prompt(INSTRUCTIONS[0], picture) for picture in data.images(rows)])
    given = {}
    if description_tokens is not None:
        given["description"] = describe(asked.model, inputs, max_new_tokens=description_tokens)
    bound = DecodingArm.parse(arm).method(0).on(inputs, **given)
    asked.model.generate(**inputs, custom_generate=bound, max_new_tokens=24, do_sample=False)
    assert bound.weights is not None
    return {"alpha": -np.array([*bound.weights.values()])}


class Replies:
    """Arms of decoding on one task: their outcomes, seeds × examples.

    Args:
        lab: where it is carried out.
        arms: a name → the arm as on the command line.
        task: a name of `counterpoint.evaluation.answering.ANSWERING`.
        options: of the assistant, of all arms.
        own: options of one arm's assistant besides.
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
        own: Mapping[str, Mapping[str, Any]] | None = None,
        label: str = "",
        drawn: Collection[str] | None = None,
        **settings: Any,
    ) -> None:
        self.seeds, self.task, self.label = lab.seeds(SEEDS), task, label
        pictures = 4 if lab.quick else PICTURES
        once = {name: drawn is not None and name not in drawn for name in arms}
        cells = {
            f"{task}-{place}-seed{seed}": {
                "arm": arm,
                "seed": seed,
                "task": task,
                "pictures": pictures,
                "options": {**options, **(own or {}).get(name, {})},
                **settings,
            }
            for place, (name, arm) in enumerate(arms.items())
            for seed in (self.seeds[:1] if once[name] else self.seeds)
        }
        found = lab.cells(answered, cells)
        self._found = {
            name: {
                seed: found[f"{task}-{place}-seed{self.seeds[0] if once[name] else seed}"]
                for seed in self.seeds
            }
            for place, name in enumerate(arms)
        }

    def outcomes(self, arm: str, metric: str) -> tuple[ArmOutcomes, str]:
        """Outcomes by seed, and the name of their statistic; ``metric: subset`` for a subset's.

        Raises:
            KeyError: for a metric that the task does not give.
        """
        runs = self._found[arm]
        key = next(k for k in runs[self.seeds[0]] if k.rpartition("|")[0] == metric)
        return {seed: run[key] for seed, run in runs.items()}, key.rpartition("|")[2]

    def mean(self, arm: str, metric: str) -> float:
        """An arm's score, the mean over its seeds."""
        outcomes, statistic = self.outcomes(arm, metric)
        assert isinstance(outcomes, Mapping)
        return float(np.mean([STATISTICS[statistic](np.asarray(run)) for run in outcomes.values()]))

    def difference(self, treatment: str, baseline: str, metric: str, **rule: Unpack[Rule]) -> Result:
        """One arm's score minus another's."""
        arms = {}
        for role, arm in (("treatment", treatment), ("baseline", baseline)):
            arms[role], statistic = self.outcomes(arm, metric)
        return measure.of_arms(
            f"{treatment} − {baseline}, {metric}{self.label}",
            f"{self.task} {metric}, bad pictures of {TEST} pairs",
            arms,
            lambda scores: scores["treatment"] - scores["baseline"],
            statistic=STATISTICS[statistic],
            **rule,
        )

    def said(self, metric: str, arms: Sequence[str] | None = None) -> str:
        """The scores of the arms in words, for a note."""
        parts = (f"{arm} {self.mean(arm, metric):.3f}" for arm in arms or self._found)
        return f"{self.task} {metric}: {', '.join(parts)}."
