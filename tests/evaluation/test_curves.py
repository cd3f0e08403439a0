from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.evaluation import LearningCurve, learning_curve
from counterpoint.evaluation.classifiers import logistic, naive_bayes
from counterpoint.evaluation.curves import class_complete
from counterpoint.evaluation.naive_bayes_simulation import GaussianClasses, examples_needed


@given(st.integers(0, 10_000), st.integers(3, 50))
def test_every_subset_holds_every_class_and_no_example_twice(seed: int, size: int) -> None:
    y = np.array([0] * 40 + [1] * 9 + [2])
    subset = class_complete(y, size, np.random.default_rng(seed))
    assert len(subset) == size == len(set(subset.tolist()))
    assert set(y[subset]) == {0, 1, 2}


def test_a_subset_that_cannot_hold_every_class_is_an_error() -> None:
    with pytest.raises(ValueError, match="size=2: a subset must hold all 3 classes"):
        class_complete(np.array([0, 1, 2, 2]), 2, np.random.default_rng(0))


def test_errors_by_size_are_repeatable_and_fall() -> None:
    problem = GaussianClasses(3, 20)
    rng = np.random.default_rng(0)
    x, y = problem.sample(600, rng)
    test, truth = problem.sample(1000, rng)
    first = learning_curve(x, y, test, truth, [96, 6, 24], subsets=4)
    again = learning_curve(x, y, test, truth, [6, 24, 96], subsets=4)
    assert first.sizes == (6, 24, 96)
    for name in ("naive_bayes", "logistic"):
        np.testing.assert_array_equal(first.errors[name], again.errors[name])
        assert first.errors[name][0].mean() > first.errors[name][-1].mean() >= problem.bayes_error() - 0.02
    whole = learning_curve(x, y, test, truth, [600], subsets=1)
    assert whole.errors["logistic"][0, 0] == np.mean(logistic(x, y, test, 3) != truth)


def test_crossover_and_goal_by_hand() -> None:
    curve = LearningCurve(
        (2, 4, 8),
        {
            "naive_bayes": np.array([[0.4, 0.4], [0.3, 0.3], [0.28, 0.28]]),
            "logistic": np.array([[0.5, 0.5], [0.25, 0.35], [0.2, 0.2]]),
        },
    )
    assert curve.crossover() == 8
    assert curve.crossover(earlier="logistic", later="naive_bayes") == 2
    assert curve.reaches("naive_bayes", 0.31) == 4
    assert curve.reaches("naive_bayes", 0.1) is None


@pytest.mark.parametrize("covariance", ["easy", "hard"])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_bayes_error_is_that_of_the_true_densities(classes: int, covariance: str) -> None:
    problem = GaussianClasses(classes, 10, covariance)  # type: ignore[arg-type]
    x, y = problem.sample(60_000, np.random.default_rng(0))
    values, vectors = problem._eigen()
    precision = vectors @ np.diag(1 / values) @ vectors.T
    distances = []
    for centre in problem.centres:
        offset = x - centre
        distances.append(np.einsum("nd,de,ne->n", offset, precision, offset))
    error = np.mean(np.argmin(distances, axis=0) != y)
    assert error == pytest.approx(problem.bayes_error(), abs=4 * np.sqrt(0.25 / 60_000))


def test_the_easy_covariance_is_the_stated_one() -> None:
    x, y = GaussianClasses(3, 8).sample(90_000, np.random.default_rng(0))
    for k, centre in enumerate([-1, 1, 2]):
        np.testing.assert_allclose(x[y == k].mean(0), centre, atol=0.1)
    np.testing.assert_allclose(x[y == 0].var(0), [8] * 4 + [1] * 4, rtol=0.05)


def test_naive_bayes_needs_few_examples_logistic_regression_more() -> None:
    problem = GaussianClasses(3, 30)
    few = examples_needed(problem, naive_bayes, repeats=3, test_size=4000)
    many = examples_needed(problem, logistic, repeats=3, test_size=4000)
    assert few is not None
    assert many is None or many > 2 * few


def test_bad_problems_are_errors() -> None:
    with pytest.raises(ValueError, match="at least two classes"):
        learning_curve(
            np.zeros((4, 2)), np.zeros(4, dtype=int), np.zeros((4, 2)), np.zeros(4, dtype=int), [2]
        )
