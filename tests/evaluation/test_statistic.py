"""Statistics of outcomes against other libraries and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from counterpoint.evaluation import STATISTICS
from counterpoint.evaluation.several import (
    mean_average_precision,
    mean_iou,
    overall_f1,
    per_class_f1,
)
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
from counterpoint.statistics import Statistic, multi_bootstrap


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


@pytest.mark.parametrize("constant", [0.1, 0.7, -0.3])
def test_two_constants_do_not_correlate(constant: float) -> None:
    for n in range(2, 12):
        values = np.stack([np.full(n, constant), np.full(n, 0.1)], 1)
        assert pearson(values) == spearman(values) == 0


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
def test_statistic_lies_range_refuses_outcomes_of_other_columns(name: str) -> None:
    statistic, rng = STATISTICS[name], np.random.default_rng(0)
    width = (len(statistic.columns) * (1 + statistic.several),) if statistic.columns else ()
    for _ in range(20):
        values = -np.sort(-rng.integers(0, 2, (6, *width)))  # no part is above its whole
        assert statistic.least <= statistic(values.astype(float)) <= statistic.most
    with pytest.raises(ValueError, match=f"{name} takes .*, and got outcomes of shape"):
        statistic(rng.random((6, 3)))


def drawn(statistic: Statistic, rng: np.random.Generator, n: int, things: int) -> np.ndarray:
    """Draw outcomes with ties, with tags that are not known, and with a tag that no example has."""
    m = things if statistic.several else 1
    true, score = rng.integers(-1, 2, (n, m)), rng.random((n, m)).round(1)
    true[:, -1] = np.minimum(true[:, -1], 0) if m > 1 else true[:, -1]
    if statistic.columns == ("union", "intersection"):
        true = score + rng.random((n, m)).round(1)
    return np.concatenate([true, score], 1)


@pytest.mark.parametrize("name", [name for name, each in STATISTICS.items() if each.weighted])
def test_a_weight_is_how_often_an_example_is_there(name: str) -> None:
    statistic, rng = STATISTICS[name], np.random.default_rng(1)
    values = drawn(statistic, rng, 40, 5)
    draws = rng.integers(0, 40, (30, 40))
    counts = np.stack([np.bincount(index, minlength=40) for index in draws]).astype(float)
    assert statistic.weighted is not None
    found = statistic.weighted(values, counts)
    np.testing.assert_allclose(found, [statistic(values[index]) for index in draws], atol=1e-12)
    plain = Statistic(statistic.function, statistic.columns, several=statistic.several)
    with_weights, without = (
        multi_bootstrap(np.stack([values] * 5), score=each, n_boot=20).replicates
        for each in (statistic, plain)
    )
    np.testing.assert_allclose(with_weights, without, atol=1e-12)


@pytest.mark.parametrize("ties", [1, 6])
def test_average_precision_of_tags_is_scikit_learns(ties: int) -> None:
    rng = np.random.default_rng(0)
    true, score = rng.integers(0, 2, (50, 7)), rng.random((50, 7)).round(ties)
    expected = average_precision_score(true, score, average="macro")
    assert mean_average_precision(np.hstack([true, score])) == pytest.approx(expected)
    # A tag that is not known of an example is left out, and a tag that nobody has does not count.
    unknown = rng.random((50, 7)) < 0.3
    by_tag = [average_precision_score(true[~u, t], score[~u, t]) for t, u in enumerate(unknown.T)]
    some = np.hstack([np.where(unknown, -1, true), np.zeros((50, 1)), score, rng.random((50, 1))])
    assert mean_average_precision(some) == pytest.approx(np.mean(by_tag))
    assert mean_average_precision(np.hstack([0 * true, score])) == 0


def test_f1_of_tags_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    true, score = rng.integers(0, 2, (50, 7)), rng.random((50, 7))
    score[:, 3] = 0.1  # never given
    given = score >= 0.5
    values = np.hstack([true, score])
    assert overall_f1(values) == pytest.approx(f1_score(true, given, average="micro"))
    cp = precision_score(true, given, average="macro", zero_division=0)
    cr = recall_score(true, given, average="macro")
    assert per_class_f1(values) == pytest.approx(2 * cp * cr / (cp + cr))


def test_mean_iou_adds_up_pixels_before_it_divides() -> None:
    values = np.array([[4.0, 2, 0, 3, 0, 0], [4, 0, 0, 0, 0, 0]])
    assert mean_iou(values) == pytest.approx((3 / 8 + 0) / 2)


def test_outcomes_of_several_things_are_told_by_their_number() -> None:
    statistic = STATISTICS["mean_average_precision"]
    with pytest.raises(ValueError, match="true, score, each of several things, and got outcomes of shape"):
        statistic(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"shape \(4, 3\); give \(examples, 2 · things\)"):
        multi_bootstrap({0: np.zeros((4, 3))}, score=statistic)
