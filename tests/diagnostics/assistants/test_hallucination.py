"""AUROC and average precision by kind, and the choice of layers."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoint.diagnostics.assistants.hallucination import best_layers, detection

TRUTH = np.array([True, True, False, False])


def test_by_kind_and_of_all() -> None:
    scores = np.array([0.9, 0.2, 0.1, 0.5, 0.3, 0.8])
    truth = np.array([True, True, False, True, False, False])
    kinds = ["colour", "colour", "colour", "count", "count", "size"]
    found = detection(scores, truth, kinds)
    assert list(found) == ["all", "colour", "count", "size"]
    assert found["colour"].auroc == 1.0
    assert found["colour"].average_precision == 1.0
    assert (found["all"].supported, found["all"].hallucinated) == (3, 3)
    pairs = [(a > b) for a in scores[truth] for b in scores[~truth]]
    assert found["all"].auroc == pytest.approx(np.mean(pairs))
    assert np.isnan(found["size"].auroc)


def test_hallucinations_are_ranked_from_the_lowest_score() -> None:
    # From below: wrong, right, wrong, right: precision 1 at the first, 2/3 at the second.
    found = detection(np.array([0.2, 0.4, 0.1, 0.3]), TRUTH)["all"]
    assert found.average_precision == pytest.approx((1 + 2 / 3) / 2)


def test_constant_scores_tell_nothing() -> None:
    assert detection(np.zeros(4), TRUTH)["all"].auroc == 0.5


def test_layers_are_chosen_by_the_mean_over_kinds() -> None:
    kinds = ["a"] * 4 + ["b"] * 40
    truth = np.tile(TRUTH, 11)
    good = np.where(truth, 1.0, 0.0)
    scores = np.zeros((44, 2, 3))
    scores[:4, 0, 1], scores[4:, 0, 1] = 1 - good[:4], good[4:]  # right on the many, wrong on the few
    scores[:4, 1, 2], scores[4:, 1, 2] = good[:4], 0.6 * good[4:]
    assert best_layers(scores, truth, kinds) == (1, 2)
    assert best_layers(scores[:, 1], truth, kinds) == (2,)
    assert best_layers(np.zeros((44, 2, 3)), truth) == (0, 0)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="as many"):
        detection(np.zeros(4), TRUTH, ["a"] * 3)
    with pytest.raises(ValueError, match="finite"):
        detection(np.array([0.0, np.nan, 1.0, 1.0]), TRUTH)
    with pytest.raises(ValueError, match="no kind has both"):
        best_layers(np.zeros((2, 3)), np.array([True, True]))
