from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.naive_bayes import GaussianNB

from counterpoint.evaluation import PooledNaiveBayes


def sample(n: int, d: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    return rng.normal(size=(n, d)) * rng.uniform(0.2, 3, d) + y[:, None] * rng.normal(size=d), y


def looped_scores(x: np.ndarray, y: np.ndarray, test: np.ndarray, k: int) -> np.ndarray:
    """The card's definition, a number at a time."""
    n, d = x.shape
    scores = np.zeros((len(test), k))
    variance = [0.0] * d
    for c in range(k):
        own = [row for row, label in zip(x, y, strict=True) if label == c]
        for j in range(d):
            mean = sum(row[j] for row in own) / len(own)
            variance[j] += len(own) / n * (sum((row[j] - mean) ** 2 for row in own) / len(own) + 1e-9)
    for i, row in enumerate(test):
        for c in range(k):
            own = [r for r, label in zip(x, y, strict=True) if label == c]
            total = math.log(len(own) / n)
            for j in range(d):
                total -= 0.5 * (row[j] - sum(r[j] for r in own) / len(own)) ** 2 / variance[j]
            scores[i, c] = total
    return scores


def test_scores_are_definition_up_to_a_term_that_classes_share() -> None:
    x, y = sample(40, 5, 3, 0)
    test = np.random.default_rng(1).normal(size=(7, 5))
    found = PooledNaiveBayes(3).update(x, y).decision_function(test)
    expected = looped_scores(x, y, test, 3)
    np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], rtol=1e-10, atol=1e-10)


def test_the_linear_form_gives_the_same_scores() -> None:
    x, y = sample(50, 4, 3, 2)
    classifier = PooledNaiveBayes(3).update(x, y)
    weights, bias = classifier.linear()
    means = np.stack([x[y == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(weights, means / classifier.variance)
    np.testing.assert_allclose(
        bias, np.log(np.bincount(y) / 50) - 0.5 * (means**2 / classifier.variance).sum(1)
    )


@given(st.lists(st.integers(1, 39), max_size=4), st.integers(0, 5))
def test_any_batches_give_what_all_at_once_gives(cuts: list[int], seed: int) -> None:
    x, y = sample(40, 3, 3, seed)
    x += 1000
    whole = PooledNaiveBayes(3).update(x, y)
    parts = PooledNaiveBayes(3)
    for part in np.split(np.random.default_rng(seed).permutation(40), sorted(cuts)):
        parts.update(x[part], y[part])
    np.testing.assert_allclose(parts.means, whole.means, rtol=1e-12)
    np.testing.assert_allclose(parts.variance, whole.variance, rtol=1e-9)
    np.testing.assert_array_equal(parts.counts, whole.counts)


def test_it_is_not_quadratic_classifier_with_variance_per_class() -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0, 0.2, (200, 1)), rng.normal(0, 5, (200, 1))])
    y = np.repeat([0, 1], 200)
    far = np.array([[-8.0], [8.0]])
    assert GaussianNB().fit(x, y).predict(far).tolist() == [1, 1]
    # Linear in one dimension: class 1 cannot be on both sides of class 0.
    between = PooledNaiveBayes(2).update(x, y).predict(np.array([[-8.0], [0.0], [8.0]])).tolist()
    assert between != [1, 0, 1]


def test_dimension_that_never_varies_within_a_class_is_left_out() -> None:
    x = np.array([[0.0, 0.0], [1.0, 0.0], [4.0, 1e-3], [5.0, 1e-3]])
    y = np.array([0, 0, 1, 1])
    weights, _ = PooledNaiveBayes(2).update(x, y).linear()
    assert (weights[:, 1] == 0).all()
    # One example a class: nothing varies, and the nearest mean decides.
    nearest = PooledNaiveBayes(2).update(np.array([[0.0, 0.0], [4.0, 0.0]]), np.array([0, 1]))
    assert nearest.predict(np.array([[1.0, 9.0], [3.0, -9.0]])).tolist() == [0, 1]


def test_a_class_without_examples_is_never_predicted() -> None:
    x, y = sample(30, 3, 2, 4)
    assert set(PooledNaiveBayes(5).update(x, y).predict(100 * x)) <= {0, 1}


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="no examples"):
        PooledNaiveBayes(2).predict(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="they are 0 to 1"):
        PooledNaiveBayes(2).update(np.zeros((1, 2)), np.array([2]))
    with pytest.raises(ValueError, match="3 dimensions, earlier batches had 2"):
        PooledNaiveBayes(2).update(np.zeros((1, 2)), np.array([0])).update(np.zeros((1, 3)), np.array([0]))
