"""Numbers of studies: their intervals, and the outcomes that they are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterpoint.evaluation import RunResults
from counterpoint.evaluation.several import mean_average_precision
from counterpoint.evaluation.statistic import f1, median
from counterpoint.evaluation.task import table
from counterpoint.files import write_json
from counterpoint.study.numbers import _metric
from counterpoint.study.scored import MetricDefinition, RunScores
from counterpoint.types import Metric

KEY = ("pope", "as trained", "all", "f1")


def test_interval_of_an_f1_of_two_seeds_does_not_leave_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    true = np.array([1, 1, 1, 0])
    said = {"0": np.array([1, 1, 1, 0]), "1": np.array([0, 0, 1, 0])}  # F1 of 1 and of ½
    monkeypatch.setattr(
        RunScores, "outcome", lambda self, key: np.stack([true, said[self.folders[0].name]], 1)
    )
    runs = {seed: RunScores(Path(str(seed))) for seed in (0, 1)}
    found = _metric(runs, KEY, MetricDefinition(("there", "yes"), "f1", True, None), fixed=False)
    assert found.mean == pytest.approx(0.75)
    assert (found.low, found.high) == (0.0, 1.0)


def test_interval_median_rank_of_two_seeds_stays_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranks = {"0": np.arange(1.0, 59.0), "1": np.arange(1.0, 59.0) // 2 + 1}
    monkeypatch.setattr(RunScores, "outcome", lambda self, key: ranks[self.folders[0].name])
    runs = {seed: RunScores(Path(str(seed))) for seed in (0, 1)}
    stated = MetricDefinition(("i2t_rank",), "median", False, None, bounds=(1.0, 58.0))
    found = _metric(runs, ("retrieval", "all", "all", "i2t_median_rank"), stated, fixed=False)
    assert (found.low, found.high) == (1.0, 58.0)


def test_bounds_of_a_metric_go_through_the_files_of_a_run(tmp_path: Path) -> None:
    examples = table("ranks", np.arange(3), ["all"] * 3, {"rank": np.array([1.0, 2.0, 3.0])}, {})
    metrics = {
        "median_rank": Metric("rank", median, higher_is_better=False, bounds=(1.0, 3.0)),
        "deviation": Metric("rank", bounds=(0.0, np.inf)),
        "plain": Metric("rank"),
    }
    results = RunResults({"test": (replace(examples, metrics=metrics),)})
    results.examples().write_parquet(tmp_path / "examples.parquet")
    write_json(tmp_path / "scores.json", results.scores())
    found = {key[3]: definition.bounds for key, (definition, _) in RunScores(tmp_path).definitions.items()}
    assert found == {"median_rank": (1.0, 3.0), "deviation": (0.0, np.inf), "plain": None}


def test_columns_are_put_side_by_side_by_their_example(tmp_path: Path) -> None:
    ids, there, yes = [5, 3, 9], [1.0, 0.0, 1.0], [1.0, 1.0, np.nan]
    metrics = {"f1": Metric(("there", "yes"), f1), "yes": Metric("yes")}
    scores = table(
        "pope", np.array(ids), ["a", "b", "a"], {"there": np.array(there), "yes": np.array(yes)}, metrics
    )
    results = RunResults({"test": (scores,)})
    results.examples().sample(fraction=1, shuffle=True, seed=0).write_parquet(tmp_path / "examples.parquet")
    write_json(tmp_path / "scores.json", results.scores())
    read = RunScores(tmp_path)
    assert read.outcome(("pope", "test", "all", "f1")).tolist() == [[0, 1], [1, 1]]
    assert (
        read.outcome(("pope", "test", "a", "f1")).tolist() == [[1, 1]] == scores.outcomes("f1", "a").tolist()
    )
    assert read.outcome(("pope", "test", "all", "yes")).tolist() == [1, 1]


def test_many_columns_are_one_matrix_of_examples_have_them_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true, score = rng.integers(-1, 2, (30, 80)).astype(float), rng.random((30, 80))
    score[4, 7], score[9, 2] = np.nan, np.nan  # two examples are without an outcome
    columns = {f"is_{k}": true[:, k] for k in range(80)} | {f"score_{k}": score[:, k] for k in range(80)}
    metrics = {"mAP": Metric(tuple(columns), mean_average_precision)}
    ids = rng.permutation(30)
    results = RunResults({"test": (table("tags", ids, ["all"] * 30, columns, metrics),)})
    write_json(tmp_path / "scores.json", results.scores())
    results.examples().write_parquet(tmp_path / "examples.parquet")
    found = RunScores(tmp_path).outcome(("tags", "test", "all", "mAP"))
    there = [row for row in np.argsort(ids) if row not in (4, 9)]
    np.testing.assert_array_equal(found, np.hstack([true, score])[there])
    assert mean_average_precision(found) == pytest.approx(results.value("tags", "test", "mAP"))
