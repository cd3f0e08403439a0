"""Runs are compared on the same examples: those of one outcome; other outcomes may be of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from counterpoint.study.agreement import check_examples
from counterpoint.study.scored import RunScores
from counterpoint.training.run import OtherRunError

STUDY = Path("study")


def scored(outcome: str, examples: Sequence[int]) -> RunScores:
    scores = RunScores()
    scores.__dict__["tables"] = {("retrieval", "held out", outcome): pl.DataFrame({"example": examples})}
    return scores


def test_outcomes_that_two_runs_have_are_of_the_same_examples() -> None:
    runs = {STUDY / "a": scored("i2t_hit", [1, 2, 3]), STUDY / "b": scored("i2t_hit", [1, 2])}
    with pytest.raises(
        OtherRunError, match=r"a and b of study .* 1 examples of retrieval \(held out\) are in one alone"
    ):
        check_examples(runs, STUDY)


def test_models_of_other_columns_may_be_scored_on_other_rows() -> None:
    runs = {STUDY / "a": scored("i2t_hit", [1, 2, 3]), STUDY / "b": scored("i2a_hit", [1, 2])}
    check_examples(runs, STUDY)
