"""Metrics of queries with several true labels: by hand, over all orders of ties, and against scikit-learn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from inspect import unwrap
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from counterpoint.evaluation import multilabel

SCORES = torch.tensor([[0.9, 0.8, 0.1, 0.5], [0.1, 0.2, 0.3, 0.4]])
TRUE = torch.tensor([[True, False, True, False], [False, False, True, True]])


def test_precision_and_recall_by_hand() -> None:
    assert multilabel.precision(SCORES, TRUE, 1).tolist() == [1, 1]
    assert multilabel.precision(SCORES, TRUE, 2).tolist() == [0.5, 1]
    assert multilabel.precision(SCORES, TRUE, 4).tolist() == [0.5, 0.5]
    assert multilabel.recall(SCORES, TRUE, 1).tolist() == [0.5, 0.5]
    assert multilabel.recall(SCORES, TRUE, 4).tolist() == [1, 1]


def test_recall_at_the_number_of_true_labels_is_r_precision() -> None:
    true = torch.tensor([[True, False, True, True], [False, False, False, True]])
    found = multilabel.recall(SCORES, true, true.sum(1))
    assert found.tolist() == pytest.approx([2 / 3, 1])


def test_ndcg_by_hand() -> None:
    gain, ideal = 1 + 1 / math.log2(5), 1 + 1 / math.log2(3)
    assert multilabel.ndcg(SCORES, TRUE, 4).tolist() == pytest.approx([gain / ideal, 1])
    assert multilabel.ndcg(SCORES, TRUE, 2).tolist() == pytest.approx([1 / ideal, 1])


@given(st.data())
def test_ties_are_the_mean_over_all_orders(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 5))
    row = data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    true = data.draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(any))
    k = data.draw(st.integers(1, size))
    hits = []
    for order in itertools.permutations(range(size)):
        ranked = sorted(order, key=lambda j: -row[j])
        hits.append(sum(true[j] for j in ranked[:k]))
    scores, targets = torch.tensor([row]).float(), torch.tensor([true])
    assert multilabel.precision(scores, targets, k)[0] == pytest.approx(np.mean(hits) / k)
    assert multilabel.recall(scores, targets, k)[0] == pytest.approx(np.mean(hits) / sum(true))
    if size > 1:  # scikit-learn wants two answers
        theirs = ndcg_score([true], [row], k=k)
        assert multilabel.ndcg(scores, targets, k)[0] == pytest.approx(theirs)


def test_a_query_without_true_labels_has_no_recall_and_no_gain() -> None:
    none = torch.zeros(1, 4, dtype=torch.bool)
    assert multilabel.precision(SCORES[:1], none, 2).tolist() == [0]
    assert np.isnan(multilabel.recall(SCORES[:1], none, 2)).all()
    assert np.isnan(multilabel.ndcg(SCORES[:1], none, 2)).all()


def test_propensity_scored_precision_is_a_ratio_of_sums() -> None:
    p = torch.tensor([0.5, 1.0, 0.1, 0.25])
    # Found: 1/0.5 of the first query, 1/0.25 of the second; there to find: 1/0.1 in each.
    assert multilabel.psp(SCORES, TRUE, p, 1) == pytest.approx((2 + 4) / (10 + 10))
    assert multilabel.psp(SCORES, TRUE, p, 2) == pytest.approx((2 + 4 + 10) / (2 + 10 + 4 + 10))
    even = torch.ones(4)
    assert multilabel.psp(SCORES, TRUE, even, 2) == pytest.approx(3 / 4)


def test_propensities_rise_with_the_count() -> None:
    n, counts = 10_000, torch.tensor([0, 1, 100, 10_000])
    found = multilabel.propensity(counts, n)
    c = (math.log(n) - 1) * 2.5**0.55
    expected = [1 / (1 + c * math.exp(-0.55 * math.log(k + 1.5))) for k in counts.tolist()]
    assert found.tolist() == pytest.approx(expected)
    assert found.tolist() == sorted(found.tolist())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: multilabel.precision(SCORES, TRUE, 0), "k=0 must lie between 1 and the number of labels, 4"),
        (lambda: multilabel.ndcg(SCORES, TRUE, 5), "k=5 must lie"),
        (lambda: multilabel.recall(SCORES, TRUE, torch.tensor([1, -1])), "one number for each of 2 queries"),
        (lambda: multilabel.precision(SCORES / 0 * 0, TRUE, 1), "scores hold NaN"),
        (
            lambda: multilabel.psp(SCORES, TRUE, torch.zeros(4), 1),
            r"propensities must be one number in \(0, 1\]",
        ),
        (lambda: multilabel.psp(SCORES, TRUE & False, torch.ones(4), 1), "nothing to find"),
        (lambda: multilabel.propensity(torch.tensor([1]), 2), "n=2 training examples are too few"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must both be \(n, L\), got \(2, 4\) and \(1, 4\)"):
        unwrap(multilabel.precision)(SCORES, TRUE[:1], 1)
