"""Correlation over patterns: closed form, who was asked what, and what is too little."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoint.data.synthetic.scenes.items.patterns import PATTERNS
from counterpoint.evaluation.patterns import pattern_profile
from counterpoint.evaluation.statistic import mean
from counterpoint.evaluation.task import table
from counterpoint.types import Metric, Scores

KINDS = ("replace colour", "replace count", "replace facing", "replace relation")


def scores(accuracies: dict[str, float], pairs: int = 10) -> Scores:
    """Return the scores of a task, with these shares of right pairs."""
    kinds = [kind for kind in accuracies for _ in range(pairs)]
    right = [float(k < round(share * pairs)) for share in accuracies.values() for k in range(pairs)]
    outcomes = {"pair_accuracy": np.array(right)}
    return table(
        "mmvp", np.arange(len(kinds)), kinds, outcomes, {"pair_accuracy": Metric("pair_accuracy", mean)}
    )


def of(*shares: float) -> Scores:
    return scores(dict(zip(KINDS, shares, strict=True)))


def test_it_is_pearson_s_correlation_of_the_accuracies() -> None:
    models = {"a": of(0.1, 0.4, 0.2, 0.9), "b": of(0.2, 0.5, 0.3, 1.0), "c": of(0.9, 0.6, 0.8, 0.1)}
    found = pattern_profile({**models, "d": of(0.5, 0.1, 0.9, 0.4)}, "pair_accuracy")
    assert found.patterns == KINDS
    assert found.accuracy[0].tolist() == pytest.approx([0.1, 0.4, 0.2, 0.9])
    np.testing.assert_allclose(found.correlation, np.corrcoef(found.accuracy))
    assert found.correlation[0, 1] == pytest.approx(1)
    assert found.correlation[0, 2] == pytest.approx(-1)


def test_model_that_is_as_good_in_everything_has_no_correlation() -> None:
    found = pattern_profile({"a": of(0.1, 0.4, 0.2, 0.9), "b": of(0.5, 0.5, 0.5, 0.5)}, "pair_accuracy")
    assert np.isnan(found.correlation[0, 1])
    assert found.correlation[0, 0] == pytest.approx(1)


def test_kinds_gathered_into_patterns_those_nobody_asked_left() -> None:
    kinds = {"replace colour": 0.2, "swap colour": 0.6, "replace count": 0.9, "replace facing": 0.0}
    found = pattern_profile({"a": scores(kinds), "b": scores(kinds)}, "pair_accuracy", PATTERNS)
    shown = dict(zip(found.patterns, found.accuracy[0], strict=True))
    assert shown == pytest.approx(
        {"orientation and direction": 0.0, "quantity and count": 0.9, "colour and appearance": 0.4}
    )


def test_two_patterns_or_one_model_are_too_few() -> None:
    two = scores({"replace colour": 0.2, "replace count": 0.9})
    with pytest.raises(ValueError, match="3 patterns that all were asked about, got 2 model"):
        pattern_profile({"a": two, "b": of(0.1, 0.2, 0.3, 0.4)}, "pair_accuracy")
    with pytest.raises(ValueError, match=r"got 1 model and"):
        pattern_profile({"a": of(0.1, 0.2, 0.3, 0.4)}, "pair_accuracy")
