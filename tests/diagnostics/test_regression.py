from __future__ import annotations

from inspect import unwrap

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from counterpoint.diagnostics import multiple_correlation

RNG = np.random.default_rng(0)
A, U, NOISE = RNG.standard_normal((3, 25))


def test_agrees_with_scikit_learn() -> None:
    y = 2 * A - U + NOISE
    fit = multiple_correlation({"a": A, "u": U}, y, permutations=50)
    x = np.stack([A, U], 1)
    model = LinearRegression().fit(x, y)
    assert fit.r**2 == pytest.approx(model.score(x, y))
    assert fit.coefficients["a"] == pytest.approx(model.coef_[0] * A.std() / y.std())


def test_partial_correlations_are_those_of_residuals() -> None:
    y = 2 * A - U + NOISE
    fit = multiple_correlation({"a": A, "u": U}, y, permutations=1)
    residuals = [v - np.polyval(np.polyfit(U, v, 1), U) for v in (A, y)]
    assert fit.partial["a"] == pytest.approx(np.corrcoef(*residuals)[0, 1])


def test_one_predictor_is_pearson() -> None:
    fit = multiple_correlation({"a": A}, A + NOISE, permutations=4000)
    expected = stats.pearsonr(A, A + NOISE)
    assert fit.r == pytest.approx(abs(expected.statistic))
    assert fit.partial["a"] == pytest.approx(expected.statistic)
    weak = multiple_correlation({"a": A}, 0.35 * A + NOISE, permutations=4000)
    assert weak.p == pytest.approx(stats.pearsonr(A, 0.35 * A + NOISE).pvalue, abs=0.02)


def test_by_chance_r_is_not_zero_and_p_is_uniform() -> None:
    rng = np.random.default_rng(1)
    fits = [
        multiple_correlation({"a": rng.random(21), "u": rng.random(21)}, rng.random(21), 99)
        for _ in range(200)
    ]
    assert np.mean([fit.r**2 for fit in fits]) == pytest.approx(2 / 20, abs=0.02)
    assert np.mean([fit.p <= 0.05 for fit in fits]) == pytest.approx(0.05, abs=0.04)


@pytest.mark.parametrize("permutations", [1, 9, 99])
def test_no_p_is_below_that_of_the_order_itself(permutations: int) -> None:
    # No permutation of 25 numbers without ties fits as well: the data's own order alone counts.
    assert multiple_correlation({"a": A}, 2 * A, permutations).p == 1 / (1 + permutations)


def test_bad_input_is_named() -> None:
    for predictors, outcome in (
        ({}, A),
        ({"a": A[:5]}, A),
        ({"a": np.ones(25)}, A),
        ({"a": A[:2]}, U[:2]),
        ({"a": np.where(A > 0, np.nan, A)}, U),
    ):
        with pytest.raises(ValueError, match="multiple_correlation"):
            unwrap(multiple_correlation)(predictors, outcome)
