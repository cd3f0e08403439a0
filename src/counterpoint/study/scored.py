"""The scores of a run, read from its folder: what each metric is made of, and the outcomes of every example."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, final

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, RootModel

from ..evaluation import STATISTICS
from ..evaluation.results import EXAMPLES
from ..files import DamagedFileError, read_json, read_table
from ..statistics import Outcomes
from ..training.folder import remedy
from .schema import Key

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
        bounds: the least and the greatest value, infinities where it has no limit; None where the metric states none.
    """

    columns: tuple[str, ...]
    statistic: str
    higher_is_better: bool
    chance: float | None
    constant: float | None = None
    role: str = ""
    bounds: tuple[float, float] | None = None

    def outcomes(self, arms: Mapping[str, RunOutcomes], margin: float | None = None) -> Outcomes:
        fraction = self.statistic == "mean"
        return Outcomes(
            arms=arms,
            statistic=STATISTICS[self.statistic],
            higher_is_better=self.higher_is_better,
            margin=margin if fraction else None,
            unit="points" if fraction else "",
            bounds=self.bounds,
        )


class _Row(BaseModel):
    """A row of ``scores.json``."""

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
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    constant: float | None
    role: str
    bounds: tuple[float | None, float | None] | None

    @property
    def definition(self) -> MetricDefinition:
        return MetricDefinition(
            columns=self.columns,
            statistic=self.statistic,
            higher_is_better=self.higher_is_better,
            chance=self.chance,
            constant=self.constant,
            role=self.role,
            bounds=limits(self.bounds),
        )


def limits(bounds: Sequence[float | None] | None) -> tuple[float, float] | None:
    """Return the bounds of a row of scores as numbers, infinities where there is no limit."""
    if bounds is None:
        return None
    least, most = bounds
    return -math.inf if least is None else least, math.inf if most is None else most


class _Rows(RootModel[Annotated[list[_Row], Field(min_length=1)]]):
    """``scores.json``."""


def read_scores(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's ``scores.json``.

    Raises:
        DamagedFileError: if they are missing or cannot be read.
    """
    return [row.model_dump() for row in read_json(folder / "scores.json", _Rows, remedy(folder)).root]


@final
class RunScores:
    """The scores of one run, read from the folders that hold its ``scores.json`` and ``examples.parquet``.

    Args:
        folders: of the run, or of its units.

    Raises:
        DamagedFileError: when a file turns out to be missing, unreadable or without what another one speaks of.
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
                raise DamagedFileError(
                    path, f"it has no outcomes of {task} {metric} ({test})", remedy(self.folders[0])
                )
        return tables

    @cached_property
    def examples(self) -> dict[tuple[str, str, tuple[str, ...]], frozenset[int]]:
        """The ids of the examples behind each task on each test set, told apart by the outcomes that there are.

        Models of other columns have other outcomes, and of rows that lack one of these they have none.
        """
        ids: dict[tuple[str, str], dict[str, frozenset[int]]] = {}
        for (task, test, outcome), frame in self.tables.items():
            ids.setdefault((task, test), {})[outcome] = frozenset(frame["example"].to_list())
        return {
            (*part, tuple(sorted(outcomes))): frozenset().union(*outcomes.values())
            for part, outcomes in ids.items()
        }

    def outcome(self, key: Key) -> np.ndarray:
        """Return the outcomes behind one number by the examples' ids: ``(n,)``, or ``(n, k)`` of k columns."""
        definition, subset = self.definitions[key][0], key[2]
        frame = self._columns(key)
        if subset != "all":
            frame = frame.filter(subset=subset)
        values = frame.select(definition.columns).to_numpy()
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
