"""Numbers of studies: their intervals end where the statistic does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterpoint.evaluation.statistic import true_and_predicted
from counterpoint.study.numbers import MetricDefinition, RunScores, _metric

KEY = ("pope", "as trained", "all", "f1")


def test_the_interval_of_an_f1_of_two_seeds_does_not_leave_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    true = np.array([1, 1, 1, 0])
    said = {"0": np.array([1, 1, 1, 0]), "1": np.array([0, 0, 1, 0])}  # F1 of 1 and of ½
    monkeypatch.setattr(
        RunScores, "outcome", lambda self, key: true_and_predicted(true, said[self.folders[0].name])
    )
    runs = {seed: RunScores(Path(str(seed))) for seed in (0, 1)}
    found = _metric(runs, KEY, MetricDefinition("there_and_said", "f1", True, None))
    assert found["mean"] == pytest.approx(0.75)
    assert (found["low"], found["high"]) == (0.0, 1.0)
