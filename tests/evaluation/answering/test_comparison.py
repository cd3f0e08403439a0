"""Scores from soft comparisons: levels, pairs within one set, anchors, the posterior's mode, and the task."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_expit, log_ndtr

from counterpoint.evaluation import create
from counterpoint.evaluation.comparison import (
    anchored_scores,
    comparison_levels,
    comparisons,
    map_scores,
    preferences,
    select_anchors,
)
from counterpoint.types import Prompt
from fixtures.assistants import Says

RELEASED = np.array(
    [
        [0.5, 0.259, 3.3e-4, 1.6e-6, 1.2e-9],
        [0.741, 0.5, 0.250, 0.100, 1.9e-8],
        [0.9997, 0.750, 0.5, 0.4997, 0.2485],
        [0.99999, 0.900, 0.5003, 0.5, 0.2540],
        [1, 1, 0.7515, 0.7460, 0.5],
    ]
)
"""Preferences among the anchors of the released code, from the worst to the best."""


def matrix(seed: int, n: int) -> np.ndarray:
    upper = np.triu(np.random.default_rng(seed).uniform(0, 1, (n, n)), 1)
    return upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n)


@pytest.mark.parametrize("link", ["probit", "logistic"])
def test_scores_are_the_optimum_that_scipy_finds(link: Literal["probit", "logistic"]) -> None:
    log_f = log_ndtr if link == "probit" else log_expit
    for seed in range(3):
        c = matrix(seed, 5)

        def objective(q: np.ndarray, c: np.ndarray = c) -> float:
            return float(-(c * log_f(q[:, None] - q)).sum() + (q**2).sum() / 2)

        expected = minimize(objective, np.random.default_rng(seed).uniform(size=5), tol=1e-12)
        assert map_scores(c, link) == pytest.approx(expected.x, abs=1e-4)
        assert map_scores(c, link).mean() == pytest.approx(0, abs=1e-12)
        assert map_scores(np.stack([c, c.T]), link)[1] == pytest.approx(-map_scores(c, link))


def test_scores_of_extreme_preferences_converge() -> None:
    always = np.tril(np.ones((6, 6)), -1) + 0.5 * np.eye(6)
    assert (np.diff(map_scores(always)) > 0.1).all()
    assert (np.diff(map_scores(RELEASED)) > 0).all()


def test_ranks_beyond_the_best_anchor_are_not_tied() -> None:
    preferred = np.array([[1, 1, 1, 0.9, 0.8], [1, 1, 1, 1, 0.999], [0.5, 0.2, 0.0, 0.0, 0.0]])
    q = anchored_scores(RELEASED, preferred)
    anchors = map_scores(RELEASED)
    assert q[1] > q[0] > anchors[-1]
    assert q[2] < q[0]
    assert anchored_scores(RELEASED.T, 1 - preferred) == pytest.approx(-q)


def test_an_example_between_two_anchors_has_a_score_between() -> None:
    q = anchored_scores(RELEASED, RELEASED)
    assert (np.diff(q) > 0).all()
    compared_with_two = np.array([[np.nan, 0.5, 0.5, np.nan, np.nan]])
    anchors = map_scores(RELEASED)
    assert anchors[1] < anchored_scores(RELEASED, compared_with_two)[0] < anchors[2]


def test_preferences_weigh_the_levels_evenly() -> None:
    logits = np.log([[0.1, 0.2, 0.3, 0.15, 0.25]])
    assert preferences(logits) == pytest.approx([0.2 * 0.25 + 0.3 * 0.5 + 0.15 * 0.75 + 0.25])
    sure = 30 * np.log([[0.6, 0.1, 0.1, 0.1, 0.1]])
    assert preferences(sure) < preferences(sure, 100.0) < 0.5


def test_pairs_lie_within_one_set_and_have_the_level_of_the_second() -> None:
    sets, rng = ["a", "b", "a", "b", "alone", "a"], np.random.default_rng(0)
    means, deviations = rng.normal(size=6), rng.uniform(0.1, 0.5, 6)
    pairs = comparisons(sets, means, deviations, 300)
    assert len(pairs) == 300
    for pair in pairs:
        assert pair.first != pair.second
        assert sets[pair.first] == sets[pair.second] != "alone"
        s = (deviations[pair.first] ** 2 + deviations[pair.second] ** 2) ** 0.5
        q = means[pair.first] - means[pair.second]
        expected = 0 if q > 2 * s else 1 if q > s else 2 if q > -s else 3 if q > -2 * s else 4
        assert pair.level == expected
    assert {(p.first, p.second) for p in pairs} >= {(0, 2), (2, 0), (1, 3), (3, 1)}
    assert pairs == comparisons(sets, means, deviations, 300)
    assert comparison_levels(np.array([1.0]), np.zeros(1), np.ones(1)).tolist() == [
        2
    ]  # a bound is the milder level
    with pytest.raises(ValueError, match="no set has two examples"):
        comparisons(["a", "b"], means[:2], 0.1, 5)


def test_anchors_are_the_least_disputed_of_each_interval() -> None:
    means, deviations = np.array([0.0, 0.1, 0.45, 0.5, 1.0]), np.array([0.3, 0.1, 0.2, 0.1, 0.9])
    assert select_anchors(means, deviations, 5).tolist() == [1, 3, 4]


def contrast_of(prompt: Prompt) -> float:
    """Return by how much the second picture has more contrast than the first."""
    (turn,) = prompt.turns
    assert prompt.picture is not None
    assert turn.picture is not None
    return float(prompt.picture.float().std() - turn.picture.float().std())


def judge(bias: float = 0.0) -> Says:
    """Return an assistant that prefers contrast, and the second picture by a bias."""
    weights = dict(zip(("inferior", "worse", "similar", "better", "superior"), range(-2, 3), strict=True))
    return Says(lambda p, seed: "", lambda prompt, word: weights[word] * (contrast_of(prompt) / 20 + bias))


def test_pictures_are_ranked_whatever_the_bias_to_one_order(tiny_data: Any) -> None:
    task = create("quality_ranking", most=2)
    rows = np.arange(8)
    fair = task(judge(), tiny_data, rows)
    assert len(fair.examples) == 2 * 4 * 4
    assert fair.examples["example"].n_unique() == 32
    assert fair.value("spearman", "contrast") > 0.8
    assert task(judge(bias=0.3), tiny_data, rows).value("spearman", "contrast") > 0.8
    flat = task(Says(lambda p, seed: ""), tiny_data, rows)
    assert flat.value("spearman") == 0
    with pytest.raises(ValueError, match="give two or more"):
        task(judge(), tiny_data, rows[:1])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        map_scores(np.array([[0.5, 1.1], [-0.1, 0.5]]))
    with pytest.raises(ValueError, match="logit_divisor"):
        create("quality_ranking", logit_divisor=0.0)
