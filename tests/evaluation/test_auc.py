"""The AUC as a mean over examples: loops, ties, scikit-learn, DeLong's variance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from counterpoint.evaluation.auc import auc_components


def test_components_are_what_loops_give() -> None:
    rng = np.random.default_rng(0)
    p, n = rng.integers(0, 6, 30).astype(float) + 1, rng.integers(0, 6, 30).astype(float)
    wins = np.array([[(a > b) + (a == b) / 2 for b in n] for a in p])
    expected = wins.mean(1) + wins.mean(0) - wins.mean()
    assert auc_components(p, n) == pytest.approx(expected)


def test_their_mean_is_scikit_learns_auc() -> None:
    rng = np.random.default_rng(1)
    p, n = rng.normal(0.5, 1, 200).round(1), rng.normal(0, 1, 200).round(1)
    expected = roc_auc_score(np.repeat([1, 0], 200), np.concatenate([p, n]))
    assert auc_components(p, n).mean() == pytest.approx(expected)


def test_their_spread_is_that_of_resampled_examples() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(0, 1, 150)  # both scores of an example go together
    p, n = base + rng.normal(0.7, 1, 150), base + rng.normal(0, 1, 150)
    again = []
    for _ in range(500):
        k = rng.integers(0, 150, 150)
        again.append(auc_components(p[k], n[k]).mean())
    # A standard deviation of 500 draws is known to about 3 %.
    assert auc_components(p, n).std() / np.sqrt(150) == pytest.approx(np.std(again), rel=0.15)


def test_ties_are_half_and_no_scores_are_refused() -> None:
    assert auc_components(np.ones(4), np.ones(4)).tolist() == [0.5] * 4
    with pytest.raises(ValueError, match="positives must be at least one score"):
        auc_components(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="negatives must be at least one score, all finite"):
        auc_components(np.ones(1), np.array([np.nan]))
