from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtr
from sklearn.metrics import roc_curve

from counterpoint.evaluation import create, equal_error_components, equal_error_rate, min_dcf
from fixtures.tiny import Oracle, Pixels, TinyData

scores = st.lists(st.integers(-4, 4), min_size=1, max_size=12).map(lambda v: np.array(v, dtype=float))


def roc(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat([1, 0], [len(positives), len(negatives)])
    false, true, _ = roc_curve(truth, np.concatenate([positives, negatives]), drop_intermediate=False)
    return false, true


@given(scores, scores)
def test_equal_error_rate_is_where_curve_of_scikit_learn_crosses(
    positives: np.ndarray, negatives: np.ndarray
) -> None:
    false, true = roc(positives, negatives)
    # Along the curve, by its own length, so that vertical pieces are ordinary.
    place = np.concatenate([[0], np.cumsum(np.diff(false) + np.diff(true))])
    at = brentq(lambda t: np.interp(t, place, false) - (1 - np.interp(t, place, true)), 0, place[-1])
    assert equal_error_rate(positives, negatives) == pytest.approx(np.interp(at, place, false), abs=1e-9)


@given(scores, scores, st.sampled_from([0.01, 0.3, 0.9]), st.sampled_from([(1.0, 1.0), (10.0, 1.0)]))
def test_detection_cost_is_smallest_on_the_curve_of_scikit_learn(
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


@given(st.integers(0, 10**6), st.booleans())
def test_mean_of_components_is_the_equal_error_rate_of_all_pairs(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    classes = np.array([0, 0, *rng.integers(0, 4, 9), 5])
    panel = rng.integers(-3, 4, (12, 12)).astype(float) if ties else rng.standard_normal((12, 12))
    same, others = classes[:, None] == classes, ~np.eye(12, dtype=bool)
    rate = equal_error_rate(panel[same & others], panel[~same & others])
    assert equal_error_components(panel, same).mean() == pytest.approx(rate, abs=1e-12)


def test_components_spread_as_the_rate_does_over_samples() -> None:
    rng = np.random.default_rng(0)

    def drawn() -> np.ndarray:
        classes = rng.integers(0, 5, 150)
        z = np.eye(5)[classes] + 0.8 * rng.standard_normal((150, 5))
        return equal_error_components(z @ z.T, classes[:, None] == classes)

    samples = [drawn() for _ in range(200)]
    spread = np.std([sample.mean() for sample in samples])
    assert np.mean([sample.std() / 150**0.5 for sample in samples]) == pytest.approx(spread, rel=0.2)


def test_the_task_tries_all_pairs_of_a_label(tiny_data: TinyData) -> None:
    classes, rows = tiny_data.classes["subgroup"].values, np.arange(70)
    texts = {tiny_data.captions(row)[0]: torch.eye(8)[7] for row in range(70)}
    task = create("verification", labels=("subgroup", "tone"))
    known = Oracle(tiny_data, torch.eye(8)[torch.from_numpy(classes)], texts)
    assert task(known, tiny_data, rows).value("subgroup_eer") == 0
    scores = task(Pixels(), tiny_data, rows)
    metric = scores.metrics["subgroup_eer"]
    assert (metric.chance, metric.higher_is_better) == (0.5, False)
    assert 0 < scores.value("subgroup_eer") < 1
    assert (
        scores.examples["tone_eer"].null_count()
        == int((tiny_data.classes["tone"].values[rows] < 0).sum())
        > 0
    )
    assert set(scores.examples["subset"]) == {"all"}
    assert task.main_metrics(tiny_data)[0] in scores.metrics
    few = create("verification,limit=20", labels=("subgroup",))(Pixels(), tiny_data, rows)
    assert few.examples["subgroup_eer"].null_count() == 50


def test_where_no_two_are_of_one_class_there_is_no_rate(tiny_data: TinyData) -> None:
    _, rows = np.unique(tiny_data.classes["subgroup"].values, return_index=True)
    scores = create("verification", labels=("subgroup",))(Pixels(), tiny_data, rows)
    assert scores.examples["subgroup_eer"].null_count() == len(rows)
