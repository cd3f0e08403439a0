from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtr
from sklearn.metrics import roc_curve

from counterpoint.evaluation import equal_error_rate, min_dcf

scores = st.lists(st.integers(-4, 4), min_size=1, max_size=12).map(lambda v: np.array(v, dtype=float))


def roc(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat([1, 0], [len(positives), len(negatives)])
    false, true, _ = roc_curve(truth, np.concatenate([positives, negatives]), drop_intermediate=False)
    return false, true


@given(scores, scores)
def test_the_equal_error_rate_is_where_the_curve_of_scikit_learn_crosses(
    positives: np.ndarray, negatives: np.ndarray
) -> None:
    false, true = roc(positives, negatives)
    # Along the curve, by its own length, so that vertical pieces are ordinary.
    place = np.concatenate([[0], np.cumsum(np.diff(false) + np.diff(true))])
    at = brentq(lambda t: np.interp(t, place, false) - (1 - np.interp(t, place, true)), 0, place[-1])
    assert equal_error_rate(positives, negatives) == pytest.approx(np.interp(at, place, false), abs=1e-9)


@given(scores, scores, st.sampled_from([0.01, 0.3, 0.9]), st.sampled_from([(1.0, 1.0), (10.0, 1.0)]))
def test_the_detection_cost_is_the_smallest_on_the_curve_of_scikit_learn(
    positives: np.ndarray, negatives: np.ndarray, p: float, costs: tuple[float, float]
) -> None:
    false, true = roc(positives, negatives)
    miss, fa = costs
    expected = (miss * p * (1 - true) + fa * (1 - p) * false).min() / min(miss * p, fa * (1 - p))
    found = min_dcf(positives, negatives, p_target=p, c_miss=miss, c_fa=fa)
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0 <= found <= 1


def test_rates_by_hand() -> None:
    positives, negatives = np.array([4.0, 3.0, 2.0, 0.5]), np.array([2.5, 1.0, 0.0, -1.0])
    # Accepting from 2 up misses one of four and accepts one of four.
    assert equal_error_rate(positives, negatives) == pytest.approx(0.25)
    # At 1 in 100 an accepted negative costs 99 missed positives: only from 3 up is there none.
    assert min_dcf(positives, negatives) == pytest.approx(0.5)
    assert min_dcf(positives, negatives, p_target=0.5) == pytest.approx(0.5)
    assert min_dcf(positives, negatives, p_target=0.99) == pytest.approx(0.5)


def test_between_thresholds_the_rate_is_interpolated() -> None:
    # From 1 miss of 3 and none of 2 accepted, to no miss and 1 of 2: they meet at 1/5.
    assert equal_error_rate(np.array([3.0, 2.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(0.2)


def test_perfect_chance_and_always_wrong() -> None:
    high, low = np.array([2.0, 3.0]), np.array([-1.0, 0.0, 1.0])
    assert equal_error_rate(high, low) == 0
    assert min_dcf(high, low) == 0
    assert equal_error_rate(low, high) == 1
    assert min_dcf(low, high) == 1
    assert equal_error_rate(np.zeros(5), np.zeros(7)) == pytest.approx(0.5)
    assert min_dcf(np.zeros(5), np.zeros(7)) == pytest.approx(1)


def test_two_gaussians_err_by_their_overlap() -> None:
    rng = np.random.default_rng(0)
    n = 200_000
    found = equal_error_rate(rng.normal(1, 1, n), rng.normal(-1, 1, n))
    rate = ndtr(-1)
    assert found == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / n))


@given(scores, scores, st.sampled_from([0.5, 3.0]))
def test_only_the_order_of_scores_matters(positives: np.ndarray, negatives: np.ndarray, power: float) -> None:
    def monotone(v: np.ndarray) -> np.ndarray:
        return np.sign(v) * np.abs(v) ** power - 7

    for measure in (equal_error_rate, min_dcf):
        assert measure(monotone(positives), monotone(negatives)) == measure(positives, negatives)


@pytest.mark.parametrize("measure", [equal_error_rate, min_dcf])
@pytest.mark.parametrize(
    ("positives", "negatives", "message"),
    [
        ([], [1.0], "positives must be at least one"),
        ([1.0], [np.nan], "negatives must be at least one score, all"),
    ],
)
def test_missing_and_infinite_scores_are_errors(measure, positives, negatives, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        measure(np.array(positives), np.array(negatives))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p_target": 0.0}, "p_target must lie between 0 and 1, got 0.0"),
        ({"p_target": 1.0}, "p_target must lie"),
        ({"c_fa": 0.0}, "costs must be positive, got c_miss=1.0 and c_fa=0.0"),
    ],
)
def test_bad_costs_are_errors(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        min_dcf(np.ones(2), np.zeros(2), **options)
