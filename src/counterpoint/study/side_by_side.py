"""Models of any kind on the same rows: scores with intervals, and each one's paired differences from the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from .. import evaluation, models
from ..data.base import Data, Rows
from ..data.columns import fits, named, subject
from ..data.embeddings import EmbeddingCache
from ..data.source import load_any
from ..evaluation.results import RunResults
from ..evaluation.task import NotApplicableError, Task, check_training, is_classifier
from ..methods.tower_method import TowerMethod
from ..modalities import MODALITIES
from ..spec import Spec
from ..statistics import Outcomes, compare_arms, holm
from ..training.record.provenance import trained_on
from ..training.run import Run, data_of
from ..trust import given
from ..types import Scores
from .numbers import bounded
from .opened import open_data
from .scored import limits

ALL = "all rows"
"""The name of the set that holds every row of a data set."""

Notify = Callable[[str], None]


@dataclass(frozen=True)
class ModelComparison:
    """The scores of models on the same rows.

    Attributes:
        data: as it is written.
        rows: of each test set.
        results: of each model, by its reference; what differences are from comes first.
        fingerprints: of the models.
        findings: of the data (`Data.findings`).
        notes: on what was left out, and why.
        refusals: the reasons why tasks that were asked for could not be carried out.
    """

    data: str
    rows: Mapping[str, Rows]
    results: Mapping[str, RunResults]
    fingerprints: Mapping[str, str]
    findings: Mapping[str, str]
    notes: Sequence[str] = field(default=())
    refusals: Sequence[str] = field(default=())

    def scores(self) -> list[dict[str, Any]]:
        """Return a row per model and number: `RunResults.scores`, with 95 % intervals over the examples.

        With several models each row has ``model`` too, and ``difference``: from the first model on the same examples
        (``estimate``, ``low``, ``high``, ``p``, and of primary metrics ``p_holm``, corrected over all of these); None
        for the first model, for subsets, and where the two were not asked about the same examples. The models are taken
        as they are: only examples vary, drawn alike for both, and nothing is said about another training run.
        """
        scored = []
        for name, results in self.results.items():
            for row in results.scores():
                scores = _scores(results, row)
                values = scores.outcomes(row["metric"], row["subset"]).astype(float)
                _, low, high = bounded(row["statistic"], values, limits(row["bounds"]))
                several = {"model": name, "difference": self._difference(name, row)}
                scored.append({**(several if len(self.results) > 1 else {}), **row, "low": low, "high": high})
        primary = [row["difference"] for row in scored if row.get("difference") and row["role"] == "primary"]
        for difference, p in zip(primary, holm([it["p"] for it in primary]) if primary else (), strict=True):
            difference["p_holm"] = float(p)
        return scored

    def examples(self) -> pl.DataFrame:
        """Return every outcome in long form, see `RunResults.examples`; of several models with a column ``model``."""
        tables = {name: results.examples() for name, results in self.results.items()}
        if len(tables) == 1:
            return next(iter(tables.values()))
        return pl.concat(
            table.select(pl.lit(name).alias("model"), pl.all()) for name, table in tables.items()
        )

    def _difference(self, name: str, row: Mapping[str, Any]) -> dict[str, float] | None:
        first = next(iter(self.results))
        if name == first or row["subset"] != "all":
            return None
        scored, reference = _scores(self.results[name], row), _scores(self.results[first], row)
        metric = row["metric"]
        if reference is None or metric not in reference.metrics:
            return None
        ids = [scores.examples["example"][scores.rows(metric)].to_list() for scores in (scored, reference)]
        if ids[0] != ids[1]:
            return None
        arms = {
            it: scores.outcomes(metric).astype(float) for it, scores in ((name, scored), (first, reference))
        }
        outcomes = Outcomes(
            arms,
            evaluation.STATISTICS[row["statistic"]],
            higher_is_better=row["higher_is_better"],
            bounds=limits(row["bounds"]),
        )
        difference = compare_arms({metric: outcomes}, pairs=[(name, first)]).differences[0]
        return {
            "estimate": difference.estimate,
            "low": difference.low,
            "high": difference.high,
            "p": difference.p,
        }


def evaluate(
    *references: str | Path,
    data: str | None = None,
    tasks: Sequence[str | Task] = (),
    split: str | None = None,
    failures: Path | None = None,
    notify: Notify = lambda line: None,
) -> ModelComparison:
    """Score models of any kind on the same rows of one data set.

    Each model sees the examples as its own library shows them. Rows whose picture, or sound or series, a run
    among them was trained on are left out for all. Tasks that ask for what a model does not have are left out for it.

    Args:
        references: what `counterpoint.load` takes; differences are from the first.
        data: as ``--data`` takes it; the first run's own unless given.
        tasks: names or task objects; retrieval, zero_shot, probe and shift, as far as data and models allow, unless
            given.
        split: ``"test"`` rows or ``"all"``; unless given, all rows of other data that has no splits of its own.
        failures: a folder for pages of what a model got most wrong.
        notify: called with a line on what is scored.

    Raises:
        UnknownNameError: for a kind of model, or a task, that does not exist.
        FileNotFoundError: if there is nothing at the path of the data.
        ValueError: for a model that cannot be loaded, one that is named twice, no data, and data without a row to
            score.
    """
    given(data)
    names = [str(reference) for reference in references]
    if not names:
        raise ValueError(
            "no model is named: give a run's folder, or another model (see: counterpoint evaluate --help)"
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{twice[0]} is named twice: name each model once")
    wanted = [
        evaluation.create(task) if isinstance(task, str) else task
        for task in tasks or evaluation.DEFAULT_TASKS
    ]
    for name in names:
        models.kind_of(name)  # before anything is loaded
    runs = {name: folder for name in names if (folder := models.run_of(name)) is not None}
    if data is None and not runs:
        raise ValueError(f"{names[0]} has no data of its own: say which with --data")
    with torch.inference_mode():
        loaded = {name: models.load(name) for name in names}
        first = next(iter(runs.values()), None)
        if first is None:
            where = str(data)
            source = load_any(where)
        else:
            run = Run.read(first)
            where = data or data_of(first)
            # On its own data a probe sees what training saw.
            source = open_data(replace(run, data=where, labels="" if data else run.labels))
        # Data in shards is too much to score whole unless that is asked for.
        unsplit = data is not None and source.split_here and not len(source.shards)
        whole = split == "all" or (split is None and unsplit)
        # The test rows of a run's own data are new to it, but not to others.
        seen = [trained_on(folder, source) for folder in runs.values() if data or whole or folder != first]
        trained = np.unique(np.concatenate([np.arange(0), *seen]))
        left_out = np.arange(0) if split == "all" else trained
        rows = _rows(source, whole, left_out)
        notify(_what_is_scored(where, source, rows))
        if len(trained):
            notify(_what_was_trained_on(where, source, trained, split == "all"))
        if not rows:
            raise ValueError(f"{where} has no other rows to score: give other data, or --split all")
        scoring = _Scoring(source, wanted, bool(tasks), whole, left_out, rows, failures, notify)
        results = {name: scoring.of(name, model, alone=len(names) == 1) for name, model in loaded.items()}
        scored = {
            scores.task for it in results.values() for tasks_ in it.by_test.values() for scores in tasks_
        }
        if len(names) > 1:
            unasked = [task.name for task in wanted if tasks and task.name not in scored]
            scoring.refusals += [f"{task} could be asked of none of the models" for task in unasked]
        prints = {name: model.fingerprint for name, model in loaded.items()}
    refusals = tuple(dict.fromkeys(scoring.refusals))
    return ModelComparison(where, rows, results, prints, source.findings(), tuple(scoring.notes), refusals)


@dataclass
class _Scoring:
    """All that models are scored on alike, and what was left out on the way."""

    source: Data
    tasks: Sequence[Task]
    named: bool
    whole: bool
    left_out: np.ndarray
    rows: Mapping[str, Rows]
    failures: Path | None
    notify: Notify
    notes: dict[str, None] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)

    def of(self, name: str, model: TowerMethod, *, alone: bool) -> RunResults:
        """Score one model."""
        label = "" if alone else f"{Spec(name).label}: "
        data = self.source.suited(model.inputs)
        cache = EmbeddingCache.of(model, data)
        by_test: dict[str, tuple[Scores, ...]] = {}
        for task in self.tasks:
            # A task that learns from the training rows must not be asked about them.
            tests = _rows(data, self.whole and not task.learns, self.left_out)
            try:
                if not fits(task.modalities, tuple(cache.columns.values())):
                    missing = [it for it in named(task.modalities, data.columns) if it not in cache.embeds]
                    raise NotApplicableError(
                        f"{label}{task.name} needs {' and '.join(missing)} embeddings, which the model has not"
                    )
                classifies = "classifier" in task.asks
                if classifies and not is_classifier(model):
                    raise NotApplicableError(
                        f"{label}{task.name} needs a label that the model learned: it learned none"
                    )
                check_training(task, data)
                evaluated = model if classifies else cache
                by_set = evaluation.evaluate(evaluated, data, tasks=(task,), tests=tests).by_test
            except NotApplicableError as error:
                if self.named and alone:
                    self.refusals.append(str(error))
                else:
                    self.notes[f"left out: {str(error).removesuffix(': leave the task out')}"] = None
                continue
            except ValueError as error:  # what the other tasks find is not lost
                self.refusals.append(f"{label}{error}")
                continue
            if tests.keys() != self.rows.keys():
                learns = (
                    f"{task.name} learns from the training rows, so it is asked about the test rows alone"
                )
                self.notes[learns] = None
            for test, scores in by_set.items():
                by_test[test] = (*by_test.get(test, ()), *scores)
                if self.failures is None:
                    continue
                folder = self.failures if alone else self.failures / Spec(name).slug
                for one in scores:
                    path = folder / f"{test} {one.task}.html".replace(" ", "-")
                    try:
                        evaluation.failures(one, cache, data, tests[test], path)
                    except NotApplicableError as error:
                        self.notes[str(error)] = None
                        continue
                    self.notify(f"wrote {path}")
        return RunResults(by_test)


def _scores(results: RunResults, row: Mapping[str, Any]) -> Any:
    return next((it for it in results.by_test.get(row["test"], ()) if it.task == row["task"]), None)


def _rows(data: Data, whole: bool, left_out: np.ndarray) -> Mapping[str, Rows]:
    """Return the rows to score of every test set that has some."""
    sets = {ALL: np.arange(len(data))} if whole else data.splits.test
    kept = {name: np.setdiff1d(rows, left_out) if len(left_out) else rows for name, rows in sets.items()}
    return {name: rows for name, rows in kept.items() if len(rows)}


def _what_was_trained_on(where: str, data: Data, seen: Rows, scored: bool) -> str:
    """Return a line on the rows whose picture, or sound or series, the run was trained on."""
    things = MODALITIES.get(data.columns[subject(data.columns) or "image"]).noun
    what = "scored with the others" if scored else "left out (--split all scores them too)"
    return f"trained on: {len(seen):,} of the {len(data):,} {things} of {where}, {what}"


def _what_is_scored(where: str, data: Data, rows: Mapping[str, Rows]) -> str:
    """Return a line on the rows that are scored, and how many there are."""
    if ALL in rows:
        unsplit = ", which has no splits of its own" if data.split_here else ""
        count = (
            f"all {len(data):,}" if len(rows[ALL]) == len(data) else f"{len(rows[ALL]):,} of {len(data):,}"
        )
        return f"scored: {count} rows of {where}{unsplit} (--split test scores a held-out part)"
    sets = ", ".join(f"{len(of_test):,} of {name!r}" for name, of_test in rows.items())
    return (
        f"scored: the test rows of {where}: {sets}; it has {len(data):,} rows (--split all scores them all)"
    )
