"""From the outcomes of runs to numbers with their intervals, and to differences with their verdicts."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, final

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, RootModel

from ..evaluation import STATISTICS
from ..evaluation.results import EXAMPLES
from ..files import Damaged, read_json, read_table
from ..statistics import Outcomes, SeedsNeeded, compare_arms, interval_of_mean, sentence
from ..training.folder import remedy
from .packed import unpacked
from .schema import Difference, Key, Metric, Needed, Score

CLEAN = "clean"
"""The subset of test examples that share nothing with training rows, where others do."""
OTHER_LABELS = "on other labels"
"""The family of differences on the labels that the verdict is not about first."""
OF_SOME = "on metrics of some arms"
"""The family of differences on what some arms alone have: classes that they name, pairs of columns that they embed."""


RunOutcomes = Mapping[int, np.ndarray | None] | np.ndarray
"""An arm's outcomes by seed, None where a run failed; or those of one fixed model."""


@dataclass(frozen=True)
class MetricDefinition:
    """The definition of a metric: how the metric is made from outcomes.

    Attributes:
        columns: the outcomes of an example that are put side by side.
        statistic: a key of `counterpoint.evaluation.STATISTICS`.
        chance: what guessing at random scores.
        constant: what the best answer that is the same for all examples scores.
        role: in verdicts, as of `RunResults.scores`.
        packed: its outcomes are those of an earlier version; see `unpacked`.
    """

    columns: tuple[str, ...]
    statistic: str
    higher_is_better: bool
    chance: float | None
    constant: float | None = None
    role: str = ""
    packed: bool = False

    def outcomes(self, arms: Mapping[str, RunOutcomes], margin: float | None = None) -> Outcomes:
        fraction = self.statistic == "mean"
        return Outcomes(
            arms=arms,
            statistic=STATISTICS[self.statistic],
            higher_is_better=self.higher_is_better,
            margin=margin if fraction else None,
            unit="points" if fraction else "",
        )


class _Row(BaseModel):
    """A row of ``scores.json``; earlier versions wrote ``outcome``, one column, in place of ``columns``."""

    model_config = ConfigDict(extra="forbid")
    task: str
    test: str
    subset: str
    metric: str
    value: float | None
    n: int
    chance: float | None
    higher_is_better: bool
    statistic: str
    columns: tuple[str, ...] = ()
    outcome: str = ""
    constant: float | None = None
    role: str = ""

    @property
    def definition(self) -> MetricDefinition:
        return MetricDefinition(
            columns=self.columns or (self.outcome,),
            statistic=self.statistic,
            higher_is_better=self.higher_is_better,
            chance=self.chance,
            constant=self.constant,
            role=self.role,
            packed=not self.columns,
        )


class _Rows(RootModel[Annotated[list[_Row], Field(min_length=1)]]):
    """``scores.json``."""


def read_scores(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's ``scores.json``.

    Raises:
        Damaged: if they are missing or cannot be read.
    """
    return [row.model_dump() for row in read_json(folder / "scores.json", _Rows, remedy(folder)).root]


@final
class RunScores:
    """The scores of one run, read from the folders that hold its ``scores.json`` and ``examples.parquet``.

    Args:
        folders: of the run, or of its units.

    Raises:
        Damaged: when a file turns out to be missing, unreadable or without what another one speaks of.
    """

    def __init__(self, *folders: Path) -> None:
        self.folders = folders

    @cached_property
    def definitions(self) -> dict[Key, tuple[MetricDefinition, int]]:
        """Return the definition of every metric, and the number of its examples."""
        return {
            (r.task, r.test, r.subset, r.metric): (r.definition, r.n)
            for folder in self.folders
            for r in read_json(folder / "scores.json", _Rows, remedy(folder)).root
        }

    @cached_property
    def tables(self) -> dict[tuple[str, str, str], pl.DataFrame]:
        """The examples' outcomes by task, test set and outcome, each in the order of the examples' ids."""
        frames = [
            read_table(folder / "examples.parquet", EXAMPLES, remedy(folder)) for folder in self.folders
        ]
        examples = pl.concat(frames, how="diagonal").sort("example", maintain_order=True)
        parts = examples.partition_by(["task", "test", "outcome"], as_dict=True, maintain_order=True)
        tables = {(str(k[0]), str(k[1]), str(k[2])): frame for k, frame in parts.items()}
        for (task, test, _, metric), (definition, n) in self.definitions.items():
            if n and any((task, test, column) not in tables for column in definition.columns):
                path = self.folders[0] / "examples.parquet"
                raise Damaged(
                    path, f"it has no outcomes of {task} {metric} ({test})", remedy(self.folders[0])
                )
        return tables

    @cached_property
    def examples(self) -> dict[tuple[str, str, tuple[str, ...]], frozenset[int]]:
        """The ids of the examples behind each task on each test set, told apart by the outcomes that there are.

        Models of other columns have other outcomes, and of rows that lack one of these they have none.
        """
        found: dict[tuple[str, str], dict[str, frozenset[int]]] = {}
        for (task, test, outcome), frame in self.tables.items():
            found.setdefault((task, test), {})[outcome] = frozenset(frame["example"].to_list())
        return {
            (*part, tuple(sorted(outcomes))): frozenset().union(*outcomes.values())
            for part, outcomes in found.items()
        }

    def outcome(self, key: Key) -> np.ndarray:
        """Return the outcomes behind one number by the examples' ids: ``(n,)``, or ``(n, k)`` of k columns."""
        definition, subset = self.definitions[key][0], key[2]
        frame = self._columns(key)
        if subset != "all":
            frame = frame.filter(subset=subset)
        values = frame.select(definition.columns).to_numpy()
        if definition.packed:
            return unpacked(definition.statistic, values[:, 0])
        return values if len(definition.columns) > 1 else values[:, 0]

    def has_examples_of(self, other: RunScores, key: Key) -> bool:
        """Return whether a number is of the same examples here and there: some outcomes exist only for some replies."""
        return self is other or self._columns(key)["example"].equals(other._columns(key)["example"])

    def _columns(self, key: Key) -> pl.DataFrame:
        """Return the examples that have all outcomes of a metric: ``example``, ``subset`` and a column for each."""
        task, test, _, _ = key
        names = self.definitions[key][0].columns
        parts = [self.tables[task, test, name] for name in names]
        # All are in the order of the examples' ids, so that what all have stands in the same order in each.
        common = parts[0]["example"]
        for part in parts[1:]:
            if not part["example"].equals(common):
                common = common.filter(common.is_in(part["example"].implode()))
        parts = [
            part if len(part) == len(common) else part.filter(pl.col("example").is_in(common.implode()))
            for part in parts
        ]
        values = {name: part["value"] for name, part in zip(names, parts, strict=True)}
        return parts[0].select("example", "subset").with_columns(**values)


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
            primaries: the tasks' primary metrics, for scores that do not say it themselves, as those of
                earlier versions; where the name depends on the data, it is empty, and the first metric counts.
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
        found: dict[Key, StudyScores] = {}
        for key, alike in having.items():
            arms = max(alike, key=len)
            if len(arms) == len(finished) or (len(arms) == 1 and len(alike) > 1):
                continue
            if (part := parts.get(tuple(arms))) is None:
                fixed = [arm for arm in self.fixed if arm in arms]
                part = StudyScores({arm: self.runs[arm] for arm in arms}, self.margin, fixed)
                parts[tuple(arms)] = part
            role = part._judged[key].role if key in part._judged else "other"
            if role == "primary" or (role == "main" and len(arms) > 1):
                found[key] = part
        return found

    def headline(self, keys: Sequence[Key]) -> Key | None:
        """Return the metric that a verdict is about first: of the main ones, else the first that most arms have."""
        if keys:
            return keys[0]
        return max(self.of_some, key=lambda key: len(self.of_some[key].runs), default=None)

    def metrics(self, arm: str) -> list[Score]:
        """Compute every number of one arm with its interval; some arms have more heads than others."""
        runs = {seed: run for seed, run in self.runs[arm].items() if run is not None}
        definitions = next(iter(runs.values())).definitions if runs else {}
        fixed = arm in self.fixed
        return [
            _metric(runs, key, definition, fixed=fixed) for key, (definition, n) in definitions.items() if n
        ]

    def differences(
        self, keys: Sequence[Key], pairs: Sequence[tuple[str, str]] | None = None
    ) -> tuple[list[Difference], str]:
        """Compute each pair's difference on the main metrics, and on subsets and other labels as further families.

        Args:
            keys: the main metrics.
            pairs: of arms; all unless given.

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
        differences: list[Difference] = []
        multiplicity: list[str] = []
        for family, scores in families.items():
            of_family, corrected = self._family(scores, pairs, family)
            differences += of_family
            if corrected:
                further = f"Differences {family} are a family of their own: " if multiplicity else ""
                multiplicity.append(f"{further}{corrected}.")
        return differences, " ".join(multiplicity)

    def _family(
        self, scores: Mapping[Key, StudyScores], pairs: Sequence[tuple[str, str]] | None, family: str
    ) -> tuple[list[Difference], str]:
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
        )
        rows = [
            Difference(
                **d.to_dict() | Metric.of(named[d.metric]).model_dump(),
                family=family,
                sentence=sentence(d),
                seeds_needed=None if d.seeds_needed is None else _needed(d.seeds_needed),
            )
            for d in comparison.differences
        ]
        return rows, comparison.multiplicity


def bounded(statistic: str, runs: Mapping[int, np.ndarray] | np.ndarray) -> tuple[float, float, float]:
    """Return a metric with its 95 % interval, which lies where the statistic must, whatever the seeds say.

    Args:
        statistic: a key of `counterpoint.evaluation.STATISTICS`.
        runs: the outcomes of the examples, by seed; or of one fixed model, whose examples alone vary.
    """
    chosen = STATISTICS[statistic]
    least, most = chosen.least, chosen.most
    outcomes = [runs] if isinstance(runs, np.ndarray) else list(runs.values())
    if statistic == "mean" and all(((v >= 0) & (v <= 1)).all() for v in outcomes):
        least, most = 0.0, 1.0
    interval = interval_of_mean(runs, statistic=chosen, n_boot=500)
    return interval.estimate, max(interval.low, least), min(interval.high, most)


def _metric(good: Mapping[int, RunScores], key: Key, definition: MetricDefinition, *, fixed: bool) -> Score:
    runs = {seed: run.outcome(key) for seed, run in good.items()}
    mean, low, high = bounded(definition.statistic, next(iter(runs.values())) if fixed else runs)
    task, test, subset, metric = key
    return Score(
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


def _needed(seeds: SeedsNeeded) -> Needed:
    return Needed(effect=seeds.effect, n=seeds.n, examples_factor=seeds.examples_factor)


def name_of(key: Key) -> str:
    """Write a metric in words.

    >>> name_of(("retrieval", "concepts", "all", "i2t_R@1"))
    'retrieval i2t_R@1 (concepts)'
    """
    task, test, subset, metric = key
    return f"{task} {metric} ({test}{'' if subset == 'all' else f', {subset}'})"


def finite(value: Any) -> Any:
    """Replace NaN and infinities by None, which JSON can carry."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
