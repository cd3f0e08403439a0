"""From the scores of runs to a study's numbers with their intervals, and to differences with their verdicts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import final

import numpy as np

from ..evaluation import STATISTICS
from ..statistics import SeedsNeeded, compare_arms, interval_of_mean, sentence
from .schema import DifferenceSummary, Key, MetricSummary, RequiredSeeds, ScoreSummary
from .scored import MetricDefinition, RunOutcomes, RunScores

CLEAN = "clean"
"""The subset of test examples that share nothing with training rows, where others do."""
OTHER_LABELS = "on other labels"
"""The family of differences on the labels that the verdict is not about first."""
OF_SOME = "on metrics of some arms"
"""The family of differences on what some arms alone have: classes that they name, pairs of columns that they embed."""


@final
class StudyScores:
    """The runs of a study by arm and seed, None where one failed.

    Args:
        runs: what each was scored with.
        margin: differences within ± this are equivalent.
        fixed: the arms of one run that is no training: only examples vary on their side.
    """

    def __init__(
        self,
        runs: Mapping[str, Mapping[int, RunScores | None]],
        margin: float,
        fixed: Collection[str] = (),
    ) -> None:
        self.runs, self.margin, self.fixed = runs, margin, fixed

    def of_arms(self, arms: Collection[str]) -> StudyScores:
        """Return the scores of some arms alone."""
        fixed = [arm for arm in self.fixed if arm in arms]
        return StudyScores({arm: self.runs[arm] for arm in arms}, self.margin, fixed)

    @cached_property
    def definitions(self) -> dict[Key, MetricDefinition]:
        """The metrics that every finished run has, of the same examples, in the order of the first."""
        runs = [run for by_seed in self.runs.values() for run in by_seed.values() if run is not None]
        first = runs[0].definitions if runs else {}
        return {
            key: definition
            for key, (definition, n) in first.items()
            if n and all(key in run.definitions and run.has_examples_of(runs[0], key) for run in runs)
        }

    def outcomes(self, key: Key) -> dict[str, RunOutcomes]:
        """Return the outcomes behind one number under every arm and seed; of a fixed arm, without a seed."""
        by_arm: dict[str, RunOutcomes] = {}
        for arm, runs in self.runs.items():
            by_seed = {seed: None if run is None else run.outcome(key) for seed, run in runs.items()}
            one = next(iter(by_seed.values())) if arm in self.fixed else None
            by_arm[arm] = by_seed if one is None else one
        return by_arm

    def main(self, primaries: Mapping[str, str]) -> list[Key]:
        """Return each task's primary metric on each test set: what verdicts are about.

        Args:
            primaries: the tasks' primary metrics, for scores that do not say it themselves; where the name depends on
                the data, it is empty, and the first metric counts.
        """
        whole = {key: it for key, it in self._judged.items() if key[0] in primaries}
        first = {task: metric for task, _, _, metric in reversed(whole)}

        def is_primary(key: Key, role: str) -> bool:
            return role == "primary" if role else key[3] == (primaries[key[0]] or first[key[0]])

        keys = [key for key, definition in whole.items() if is_primary(key, definition.role)]
        # Where arms embed different columns, the first metric of its role that they share.
        led = {(task, test) for task, test, _, _ in keys}
        for key, definition in whole.items():
            if definition.role == "main" and key[:2] not in led:
                keys.append(key)
                led.add(key[:2])
        return keys

    def other_labels(self, keys: Collection[Key]) -> list[Key]:
        """Return what is the primary metric of another label or pair of columns, besides the main metrics."""
        return [
            key for key, definition in self._judged.items() if definition.role == "main" and key not in keys
        ]

    @cached_property
    def _judged(self) -> dict[Key, MetricDefinition]:
        """The metrics on what verdicts are about: the clean examples where some leaked from training, else all."""
        leaky = {(task, test, metric) for task, test, subset, metric in self.definitions if subset == CLEAN}
        return {
            key: definition
            for key, definition in self.definitions.items()
            if key[2] == (CLEAN if (key[0], key[1], key[3]) in leaky else "all")
        }

    @cached_property
    def of_some(self) -> dict[Key, StudyScores]:
        """The metrics of verdicts that some arms alone have, with the scores of these arms.

        So it is with a task that some arms were asked, with a pair of columns that some arms embed, and where some were
        asked about other examples, as those that lack no sound. What one arm alone has compares nothing: of that, the
        primary metrics stand for the others.
        """
        finished = {
            arm: scored
            for arm, runs in self.runs.items()
            if (scored := [run for run in runs.values() if run is not None])
        }
        having: dict[Key, list[list[str]]] = {}
        for arm, (first, *others) in finished.items():
            for key, (definition, n) in first.definitions.items():
                judged = n and definition.role in {"primary", "main"}
                if judged and all(key in other.definitions for other in others):
                    alike = having.setdefault(key, [])
                    same = (arms for arms in alike if first.has_examples_of(finished[arms[0]][0], key))
                    if (arms := next(same, None)) is None:
                        alike.append([arm])
                    else:
                        arms.append(arm)
        parts: dict[tuple[str, ...], StudyScores] = {}
        scores: dict[Key, StudyScores] = {}
        for key, alike in having.items():
            arms = max(alike, key=len)
            if len(arms) == len(finished) or (len(arms) == 1 and len(alike) > 1):
                continue
            if (part := parts.get(tuple(arms))) is None:
                part = self.of_arms(arms)
                parts[tuple(arms)] = part
            role = part._judged[key].role if key in part._judged else "other"
            if role == "primary" or (role == "main" and len(arms) > 1):
                scores[key] = part
        return scores

    def headline(self, keys: Sequence[Key]) -> Key | None:
        """Return the metric that a verdict is about first: of the main ones, else the first that most arms have."""
        if keys:
            return keys[0]
        return max(self.of_some, key=lambda key: len(self.of_some[key].runs), default=None)

    def metrics(self, arm: str) -> list[ScoreSummary]:
        """Compute every number of one arm with its interval; some arms have more heads than others."""
        runs = {seed: run for seed, run in self.runs[arm].items() if run is not None}
        definitions = next(iter(runs.values())).definitions if runs else {}
        fixed = arm in self.fixed
        return [
            _metric(runs, key, definition, fixed=fixed) for key, (definition, n) in definitions.items() if n
        ]

    def differences(
        self,
        keys: Sequence[Key],
        pairs: Sequence[tuple[str, str]] | None = None,
        reference: str | None = None,
    ) -> tuple[list[DifferenceSummary], str]:
        """Compute each pair's difference on the main metrics, and on subsets and other labels as further families.

        Args:
            keys: the main metrics.
            pairs: of arms; all unless given.
            reference: the arm that each other one is compared with, in place of all pairs.

        Returns:
            the differences, and what they were corrected for.
        """
        wanted = {(task, test, metric) for task, test, _, metric in keys}
        by_subset = [
            key for key in self.definitions if key not in keys and (key[0], key[1], key[3]) in wanted
        ]
        families = {
            "main": dict.fromkeys(keys, self),
            "by subset": dict.fromkeys(by_subset, self),
            OTHER_LABELS: dict.fromkeys(self.other_labels(keys), self),
            OF_SOME: self.of_some if pairs is None else {},
        }
        differences: list[DifferenceSummary] = []
        multiplicity: list[str] = []
        for family, scores in families.items():
            of_family, corrected = self._family(scores, pairs, reference, family)
            differences += of_family
            if corrected:
                further = f"Differences {family} are a family of their own: " if multiplicity else ""
                multiplicity.append(f"{further}{corrected}.")
        return differences, " ".join(multiplicity)

    def _family(
        self,
        scores: Mapping[Key, StudyScores],
        pairs: Sequence[tuple[str, str]] | None,
        reference: str | None,
        family: str,
    ) -> tuple[list[DifferenceSummary], str]:
        """Compare pairs of arms on some metrics, each with the scores of the arms that have it."""
        compared = {key: of_arms for key, of_arms in scores.items() if len(of_arms.runs) > 1}
        if not compared:
            return [], ""
        named = {name_of(key): key for key in compared}
        comparison = compare_arms(
            {
                name: compared[key].definitions[key].outcomes(compared[key].outcomes(key), self.margin)
                for name, key in named.items()
            },
            pairs=pairs,
            reference=reference,
        )
        rows = [
            DifferenceSummary(
                **d.to_dict() | MetricSummary.of(named[d.metric]).model_dump(),
                family=family,
                sentence=sentence(d),
                seeds_needed=None if d.seeds_needed is None else _needed(d.seeds_needed),
            )
            for d in comparison.differences
        ]
        return rows, comparison.multiplicity


def bounded(
    statistic: str, runs: Mapping[int, np.ndarray] | np.ndarray, bounds: tuple[float, float] | None
) -> tuple[float, float, float]:
    """Return a metric with its 95 % interval, which lies within the metric's bounds.

    Args:
        statistic: a key of `counterpoint.evaluation.STATISTICS`.
        runs: the outcomes of the examples, by seed; or of one fixed model, whose examples alone vary.
        bounds: of the metric; see `counterpoint.statistics.Outcomes`.
    """
    interval = interval_of_mean(runs, statistic=STATISTICS[statistic], n_boot=500, bounds=bounds)
    return interval.estimate, interval.low, interval.high


def _metric(
    good: Mapping[int, RunScores], key: Key, definition: MetricDefinition, *, fixed: bool
) -> ScoreSummary:
    runs = {seed: run.outcome(key) for seed, run in good.items()}
    outcomes = next(iter(runs.values())) if fixed else runs
    mean, low, high = bounded(definition.statistic, outcomes, definition.bounds)
    task, test, subset, metric = key
    return ScoreSummary(
        task=task,
        test=test,
        subset=subset,
        metric=metric,
        mean=mean,
        low=low,
        high=high,
        seeds={str(seed): STATISTICS[definition.statistic](values) for seed, values in runs.items()},
        n=len(next(iter(runs.values()))),
        chance=definition.chance,
        constant=definition.constant,
        higher_is_better=definition.higher_is_better,
    )


def _needed(seeds: SeedsNeeded) -> RequiredSeeds:
    return RequiredSeeds(
        effect=seeds.effect, n=seeds.n, examples_factor=seeds.examples_factor, at_least=seeds.at_least
    )


def name_of(key: Key) -> str:
    """Write a metric in words.

    >>> name_of(("retrieval", "concepts", "all", "i2t_R@1"))
    'retrieval i2t_R@1 (concepts)'
    """
    task, test, subset, metric = key
    return f"{task} {metric} ({test}{'' if subset == 'all' else f', {subset}'})"
