"""Statistics of outcomes against other libraries and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, precision_score, recall_score

from counterpoint.evaluation import STATISTICS
from counterpoint.evaluation.statistic import (
    calibration_error,
    f1,
    macro_f1,
    mean_per_class,
    pearson,
    precision,
    recall,
    share,
    spearman,
    weighted_f1,
)


def rows(*columns: object) -> np.ndarray:
    return np.stack([np.asarray(column, float) for column in columns], 1)


def test_f1_of_a_hundred_classes_is_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    true = rng.integers(0, 100, 300)
    predicted = np.where(rng.random(300) < 0.5, true, rng.integers(0, 100, 300))
    values, occurs = rows(true, predicted), np.unique(true)
    assert macro_f1(values) == pytest.approx(f1_score(true, predicted, labels=occurs, average="macro"))
    assert weighted_f1(values) == pytest.approx(
        f1_score(true, predicted, average="weighted", zero_division=0)
    )
    yes, said = true < 50, predicted < 50
    for own, theirs in ((precision, precision_score), (recall, recall_score), (f1, f1_score)):
        assert own(rows(yes, said)) == pytest.approx(theirs(yes, said))


def test_statistics_of_yes_by_hand() -> None:
    values = rows([1, 1, 1, 0, 0], [1, 0, 2, 1, 0])
    assert (precision(values), recall(values)) == (1 / 2, pytest.approx(1 / 3))
    assert f1(values) == pytest.approx(2 / 5)
    assert f1(np.zeros((3, 2))) == 0


def test_mean_per_class_skips_classes_without_examples() -> None:
    assert mean_per_class(rows([0, 0, 7], [1, 0, 1])) == pytest.approx((0.5 + 1) / 2)


def test_shares_of_wholes_by_hand() -> None:
    assert share(rows([3, 0, 7], [2, 0, 1])) == pytest.approx(3 / 10)
    assert share(rows([0], [0])) == 0
    assert share(rows([5000], [2500])) == 0.5


def test_correlations_agree_with_scipy() -> None:
    rng = np.random.default_rng(0)
    levels, scores = rng.integers(0, 4, 40), rng.random(40).round(1)
    outcome = rows(levels, scores)
    assert spearman(outcome) == pytest.approx(spearmanr(levels, scores).statistic)
    assert pearson(outcome) == pytest.approx(pearsonr(levels, scores).statistic)


def test_calibration_error_by_hand() -> None:
    # 0.9 is in (13/15, 14/15], 0.6 in (8/15, 9/15]: 2/3 · |1/2 − 0.9| + 1/3 · |1 − 0.6|
    assert calibration_error(rows([0.9, 0.9, 0.6], [1, 0, 1])) == pytest.approx(2 / 3 * 0.4 + 1 / 3 * 0.4)
    assert calibration_error(np.ones((4, 2))) == 0
    assert calibration_error(rows(np.ones(4), np.zeros(4))) == 1
    with pytest.raises(ValueError, match=r"lie in \[0, 1\], got 0 to 1.5"):
        calibration_error(rows([0.0, 1.5], [0, 0]))


@pytest.mark.parametrize("k", range(1, 16))
@pytest.mark.parametrize("hit", [0.0, 1.0])
def test_a_confidence_on_an_edge_belongs_to_the_bin_below_it(k: int, hit: float) -> None:
    # Both lie in ((k − 1)/15, k/15], where their gaps cancel in part; in two bins they would add up.
    confidence = np.array([k / 15, (k - 0.5) / 15])
    hits = np.array([hit, 1 - hit])
    expected = abs((hits - confidence).sum()) / 2
    assert calibration_error(rows(confidence, hits)) == pytest.approx(expected)


def test_calibration_error_is_torchmetrics() -> None:
    from torchmetrics.functional.classification import binary_calibration_error

    rng = np.random.default_rng(0)
    p = rng.random(500)
    hits = (rng.random(500) < p**2).astype(float)
    # Its confidence is that of the positive class.
    theirs = binary_calibration_error(torch.from_numpy(p), torch.from_numpy(hits).long(), n_bins=15)
    assert calibration_error(rows(p, hits)) == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize("name", STATISTICS)
def test_a_statistic_lies_in_its_range_and_refuses_outcomes_of_other_columns(name: str) -> None:
    statistic, rng = STATISTICS[name], np.random.default_rng(0)
    width = (len(statistic.columns),) if statistic.columns else ()
    for _ in range(20):
        values = -np.sort(-rng.integers(0, 2, (6, *width)))  # no part is above its whole
        assert statistic.least <= statistic(values.astype(float)) <= statistic.most
    with pytest.raises(ValueError, match=f"{name} takes .*, and got outcomes of shape"):
        statistic(rng.random((6, 3)))
