"""Running tasks on test sets, and what comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from ..data.base import Data, Rows
from ..data.columns import fits
from ..data.embeddings import EmbeddingCache
from ..registry import unknown
from ..types import Assistant, DrawsWords, Embedder, FoundMoments, LabelMaps, Scores
from ._registry import (
    DEFAULT_ANSWERING,
    DEFAULT_CLASSIFYING,
    DEFAULT_LABELLED,
    DEFAULT_PAINTING,
    DEFAULT_SPEAKING,
    DEFAULT_TASKS,
    create,
)
from .statistic import name_of
from .task import ModelKind, NotApplicableError, Task, check_asks, check_columns, check_data, is_classifier

Role = Literal["primary", "main", "other", ""]
"""The part that a metric has in verdicts."""


EXAMPLES = {
    "task": pl.String,
    "test": pl.String,
    "example": pl.Int64,
    "subset": pl.String,
    "outcome": pl.String,
    "value": pl.Float64,
}
"""Columns of ``examples.parquet``: every outcome in long form."""


@dataclass(frozen=True)
class RunResults:
    """The scores of tasks on test sets.

    Attributes:
        by_test: for each test set, the scores of each task.
    """

    by_test: Mapping[str, tuple[Scores, ...]]

    def scores(self) -> list[dict[str, Any]]:
        """Return a row per task, test set, subset (``"all"`` first) and metric.

        Keys: ``task``, ``test``, ``subset``, ``metric``, ``value``, ``n`` (examples with an outcome),
        ``chance`` (guessing at random; None where unknown), ``constant`` (the best answer that is the same for all
        of these examples; None where there is none), ``role`` (``"primary"``, the metric that a verdict is about;
        ``"main"``, the same of another label or pair of columns; ``"other"``; empty where the scores do not say),
        ``higher_is_better``, ``bounds`` (the least and the greatest possible value, None for no limit; None where the
        metric states none), and how to recompute the value from `examples`: ``columns``, the outcomes that are put side
        by side, and ``statistic`` (a key of `counterpoint.evaluation.STATISTICS`). What no example has an outcome for
        (a label that a subset does not have) is undefined and has no row; `value` says NaN.
        """
        return [
            {
                "task": scores.task,
                "test": test,
                "subset": subset,
                "metric": name,
                "value": scores.value(name, subset),
                "n": len(scores.rows(name, subset)),
                "chance": metric.chance,
                "constant": scores.constant(name, subset),
                "role": _role(scores, name),
                "higher_is_better": metric.higher_is_better,
                "columns": list(metric.names),
                "statistic": name_of(metric.statistic),
                "bounds": _finite(metric.bounds),
            }
            for test, tasks in self.by_test.items()
            for scores in tasks
            for subset in scores.subsets()
            for name, metric in scores.metrics.items()
            if len(scores.rows(name, subset))
        ]

    def examples(self) -> pl.DataFrame:
        """Return every outcome in long form: ``task``, ``test``, ``example``, ``subset``, ``outcome``, ``value``."""
        parts = [
            scores.examples.unpivot(index=["example", "subset"], variable_name="outcome", value_name="value")
            .drop_nulls("value")
            .select(
                pl.lit(scores.task).alias("task"),
                pl.lit(test).alias("test"),
                pl.col("example").cast(pl.Int64),
                pl.col("subset").cast(pl.String),
                pl.col("outcome").cast(pl.String),
                pl.col("value").cast(pl.Float64),
            )
            for test, tasks in self.by_test.items()
            for scores in tasks
        ]
        return pl.concat([pl.DataFrame(schema=EXAMPLES), *parts])  # a model that no task asks has none

    def maps(self) -> dict[str, LabelMaps]:
        """Return the class maps of a few examples, by test set; none where no task gives pixels classes."""
        return {
            test: scores.maps
            for test, tasks in self.by_test.items()
            for scores in tasks
            if scores.maps is not None
        }

    def moments(self) -> dict[str, FoundMoments]:
        """Return the moments of a few clips, by test set; none where no task asks for moments."""
        return {
            test: scores.moments
            for test, tasks in self.by_test.items()
            for scores in tasks
            if scores.moments is not None
        }

    def value(self, task: str, test: str, metric: str, subset: str = "all") -> float:
        """Return one number: a metric of a task on a test set.

        Raises:
            UnknownNameError: if there is no such test set, task or metric.
        """
        if test not in self.by_test:
            raise unknown("test set", test, self.by_test)
        tasks = {scores.task: scores for scores in self.by_test[test]}
        if task not in tasks:
            raise unknown("task", task, tasks)
        if metric not in tasks[task].metrics:
            raise unknown("metric", metric, tasks[task].metrics)
        return tasks[task].value(metric, subset)


def _finite(bounds: tuple[float, float] | None) -> list[float | None] | None:
    """Return bounds in values that JSON has."""
    return None if bounds is None else [end if math.isfinite(end) else None for end in bounds]


def default_tasks(data: Data, *, classifies: bool = False, speaks: bool = False) -> tuple[str, ...]:
    """Return the default tasks, less those that ask for labels, or for embeddings of columns, that are not there.

    Args:
        data: what is asked about.
        classifies: True for models that learned the classes of a label: these are asked for first.
        speaks: True for models of runs that answer in words.
    """
    there = tuple(data.columns.values())
    usual = DEFAULT_SPEAKING if speaks else _usual(data, classifies)
    return applicable(data, [name for name in usual if fits(create(name).modalities, there)])


def _usual(data: Data, classifies: bool) -> tuple[str, ...]:
    """Return the default tasks for models that embed; before the probe one more of tags or numbers that are learned."""
    learned, before = data.labels.get(data.learned), DEFAULT_TASKS.index("probe")
    more = () if learned is None else DEFAULT_LABELLED.get(learned.kind, ())
    return (*DEFAULT_CLASSIFYING * classifies, *DEFAULT_TASKS[:before], *more, *DEFAULT_TASKS[before:])


def applicable(data: Data, names: Sequence[str]) -> tuple[str, ...]:
    """Return the named tasks that the data has columns and labels for, and all its test sets have items for."""
    applying = []
    for name in names:
        with suppress(NotApplicableError):
            check_data(create(name), data)
            applying.append(name)
    return tuple(applying)


def evaluate(
    model: Embedder | Assistant | DrawsWords,
    data: Data,
    tasks: Sequence[str | Task] | None = None,
    tests: Mapping[str, Rows] | None = None,
    *,
    seed: int = 0,
) -> RunResults:
    """Score a model on every test set with every task. Each input is embedded once.

    Args:
        model: anything that embeds columns of the data, that answers in words, or that draws new words.
        data: what to score it on.
        tasks: names or task objects; unless given, the default tasks for such a model, less those that ask for
            columns, labels or questions the data does not have or for embeddings the model does not have.
        tests: named rows; the test sets of the data unless given.
        seed: of the sampling of a model that answers.

    Raises:
        UnknownNameError: for a task that does not exist.
        NotApplicableError: for a task asked for by name whose columns, labels, items or questions no test set has.
        ValueError: if there is no test set, one is too small for a task, an embedding is not finite, or a task cannot
            ask such a model.
    """
    tests = data.splits.test if tests is None else tests
    if not tests:
        raise ValueError(f"{data.name!r} has no test set to evaluate on: its splits.test is empty")
    for name, rows in tests.items():
        if not len(rows):
            raise ValueError(
                f"the test set {name!r} of {data.name!r} is empty: leave it out, or put rows in it"
            )
    answers, embeds = isinstance(model, Assistant), isinstance(model, Embedder)
    classifies = is_classifier(model)
    paints = isinstance(model, DrawsWords)
    kinds: list[ModelKind] = [] if paints or (answers and not embeds) else ["embedder"]
    if paints:
        kinds.append("painter")
    if answers:
        kinds.append("assistant")
    if classifies:
        kinds.append("classifier")
    usual = _usual(data, classifies)
    if answers:
        usual = applicable(data, DEFAULT_SPEAKING) if embeds else DEFAULT_ANSWERING
    if paints:
        usual = DEFAULT_PAINTING
    wanted = [create(named) if isinstance(named, str) else named for named in tasks or usual]
    for task in wanted:
        check_asks(task, *kinds)
    one = EmbeddingCache.of(model, data) if isinstance(model, Embedder) else model
    if tasks is None and isinstance(one, EmbeddingCache):
        wanted = [task for task in wanted if fits(task.modalities, tuple(one.columns.values()))]
        if is_classifier(model) and not model.shares_space:
            # Columns of such a model meet in its classifier alone: between their features there is nothing to find.
            wanted = [task for task in wanted if len(task.modalities) < 2]
    by_test: dict[str, tuple[Scores, ...]] = {}
    refused: dict[str, NotApplicableError] = {}
    for name, rows in tests.items():
        scores = []
        for task in wanted:
            try:
                check_columns(task, data)
                itself = {"assistant", "classifier", "painter"} & {*task.asks}
                sampling = {"seed": seed} if "assistant" in task.asks else {}
                result = task(model if itself else one, data, rows, **sampling)
                # Of a model that embeds some of the columns, the first that it has counts.
                main = tuple(name for name in task.main_metrics(data) if name in result.metrics)
                scores.append(replace(result, main=result.main or main))
            except NotApplicableError as error:
                refused.setdefault(task.name, error)
        by_test[name] = tuple(scores)
    # Of sources that are mixed, some may lack what a task asks about.
    asked_of = {scored.task for scores in by_test.values() for scored in scores}
    if tasks is not None and (never := [name for name in refused if name not in asked_of]):
        raise refused[never[0]]
    return RunResults(by_test)


def _role(scores: Scores, metric: str) -> Role:
    if not scores.main or metric not in scores.main:
        return "other" if scores.main else ""
    return "primary" if metric == scores.main[0] else "main"
