"""The t intervals, the hull that verdicts rest on, Holm's correction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from counterpoint.statistics import Outcomes, compare_arms, holm, interval_of_mean, t_interval
from counterpoint.statistics.intervals import (
    VerdictInterval,
    satterthwaite,
    shared_example_variance,
)


def difference(
    a: np.ndarray, b: np.ndarray, *, paired: bool = True, confidence: float = 0.95
) -> VerdictInterval:
    comparison = compare_arms(
        {"m": Outcomes({"a": a, "b": b}, unit="")}, paired_seeds=paired, confidence=confidence, n_boot=1000
    )
    interval = comparison.differences[0].interval
    assert interval is not None
    return interval


def test_paired_t_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1/√3, t(2) at 0.975 is 4.3027."""
    found = t_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (found.estimate, found.degrees) == (2.0, 2.0)
    assert found.standard_error == pytest.approx(1 / np.sqrt(3))
    assert found.low == pytest.approx(2 - 4.302653 / np.sqrt(3), abs=1e-6)
    assert found.p_value() == pytest.approx(stats.ttest_rel([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).pvalue)


def test_welch_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(5), 3 * rng.standard_normal(9) + 1
    found, theirs = t_interval(a, b, paired=False), stats.ttest_ind(a, b, equal_var=False)
    assert found.p_value() == pytest.approx(theirs.pvalue)
    expected = theirs.confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high])


def test_a_fixed_side_leaves_the_one_sample_interval() -> None:
    a = np.random.default_rng(1).standard_normal(6)
    found, theirs = t_interval(a, [0.25]), stats.ttest_1samp(a, 0.25)
    assert found.p_value() == pytest.approx(theirs.pvalue)
    assert found.degrees == 5
    assert t_interval(a).estimate == pytest.approx(a.mean())


def test_t_without_spread() -> None:
    assert t_interval([1.0, 1.0]).p_value() == 0
    assert t_interval([1.0, 1.0]).p_value(1.0) == 1


def test_t_needs_two_seeds_and_equal_sides() -> None:
    with pytest.raises(ValueError, match="at least 2 seeds"):
        t_interval([1.0], [2.0])
    with pytest.raises(ValueError, match="paired sides have 3 and 2 seeds"):
        t_interval([1.0, 2.0, 3.0], [1.0, 2.0])


def test_satterthwaite_limits() -> None:
    assert satterthwaite([2.0, 0.0], [4, 100]) == pytest.approx(4)
    assert satterthwaite([0.0, 2.0], [4, 100]) == pytest.approx(100)
    assert satterthwaite([1.0, 1.0], [4, 4]) == pytest.approx(8)


PAIRS = hnp.arrays(
    np.float64, st.tuples(st.just(2), st.integers(2, 6), st.integers(2, 9)), elements=st.floats(-1, 1)
)


@given(PAIRS, st.booleans())
def test_the_verdict_interval_contains_each_of_its_parts(x: np.ndarray, paired: bool) -> None:
    found = difference(x[0], x[1], paired=paired)
    assert found.over_seeds is not None
    assert found.over_both is not None
    assert found.low == min(found.bootstrap[0], found.over_seeds.low, found.over_both.low)
    assert found.high == max(found.bootstrap[1], found.over_seeds.high, found.over_both.high)
    assert found.over_both.standard_error >= found.over_seeds.standard_error


@given(PAIRS)
def test_antisymmetry(x: np.ndarray) -> None:
    ab, ba = difference(x[0], x[1]), difference(x[1], x[0])
    assert ab.estimate == -ba.estimate
    np.testing.assert_allclose([ab.low, ab.high], [-ba.high, -ba.low], atol=1e-14)
    assert ab.p_value() == pytest.approx(ba.p_value(), abs=1e-9)


@given(PAIRS, st.floats(-3, 3))
def test_a_shift_of_one_arm_shifts_the_interval(x: np.ndarray, shift: float) -> None:
    plain, moved = difference(x[0], x[1]), difference(x[0] + shift, x[1])
    np.testing.assert_allclose([moved.low, moved.high], [plain.low + shift, plain.high + shift], atol=1e-9)


@given(PAIRS)
def test_p_agrees_with_the_interval(x: np.ndarray) -> None:
    found = difference(x[0], x[1])
    margin = 1e-9
    for null in (0.0, found.estimate, 0.5, -0.5):
        if found.low + margin < null < found.high - margin:
            # One step of the bootstrap's quantile apart, p and interval can differ.
            assert found.p_value(null) >= 0.05 - 2 / 1000
        elif null < found.low - margin or null > found.high + margin:
            assert found.p_value(null) <= 0.05 + 2 / 1000


def test_one_seed_leaves_the_examples_only() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((1, 400)) + 1, rng.standard_normal((1, 400))
    found = difference(a, b)
    assert found.over_seeds is None
    assert found.over_both is None
    assert (found.low, found.high) == found.bootstrap
    assert found.n_seeds == 1
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(a - b) / 20, rel=0.1)


def test_shared_example_variance_is_what_seeds_do_not_remove() -> None:
    """Additive outcomes with noise of their own: the shared part is Var(examples) / n."""
    rng = np.random.default_rng(3)
    s, n = 40, 100
    examples, noise = 2 * rng.standard_normal((1, n)), 4 * rng.standard_normal((s, n))
    draws = rng.integers(0, n, (2000, n))
    scores = (rng.standard_normal((s, 1)) + examples + noise)[:, draws].mean(2).T
    shared = shared_example_variance(scores)
    assert shared == pytest.approx(4 / n, rel=0.2)
    assert np.var(scores, axis=0).mean() == pytest.approx(20 / n, rel=0.2)  # what one seed alone would claim


def test_noise_of_each_seed_alone_is_no_variance_of_examples() -> None:
    """Outcomes of independent noise: seeds share nothing, so more of them remove all of the uncertainty."""
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((2, 3, 5000))
    one_seed = np.sqrt(1 / 5000)
    assert interval_of_mean(a, n_boot=2000).example_se < 0.2 * one_seed
    assert difference(a, b).example_se < 0.2 * np.sqrt(2) * one_seed
    assert difference(a, b, paired=False).example_se < 0.2 * np.sqrt(2) * one_seed


def test_shared_example_variance_difference_cancels_sides_share() -> None:
    rng = np.random.default_rng(4)
    common = rng.standard_normal((500, 1))
    a = common + np.zeros((1, 5))
    assert shared_example_variance(a, a[:, :3]) == pytest.approx(0, abs=1e-12)
    b = rng.standard_normal((500, 1)) + np.zeros((1, 3))
    assert shared_example_variance(a, b) == pytest.approx(np.var(a[:, 0] - b[:, 0], ddof=1))
    assert shared_example_variance(a, b[:, :1]) == pytest.approx(np.var(a[:, 0] - b[:, 0], ddof=1))


def test_interval_of_mean() -> None:
    x = np.random.default_rng(5).random((6, 300)) < 0.4
    found = interval_of_mean({**dict(enumerate(x)), 6: None})
    assert found.estimate == pytest.approx(x.mean())
    assert found.n_seeds == 6
    t = t_interval(x.mean(1))
    assert found.low <= t.low < t.high <= found.high
    median = interval_of_mean(x, statistic=lambda v: float(np.median(v)), n_boot=100)
    assert median.estimate == np.mean(np.median(x, axis=1))
    with pytest.raises(ValueError, match=r"no finished run \(failed: \[0\]\)"):
        interval_of_mean({0: None})


HITS = hnp.arrays(np.bool_, st.tuples(st.just(2), st.integers(2, 4), st.integers(10, 20)))


@given(HITS)
def test_intervals_of_accuracies_hold_accuracies_verdicts_stay(x: np.ndarray) -> None:
    arms = {"a": x[0], "b": x[1]}
    found, free = (
        compare_arms({"m": Outcomes(arms, unit=unit, margin=0.3)}, n_boot=200).differences[0]
        for unit in ("points", "")
    )
    assert -1 <= found.low <= found.estimate <= found.high <= 1
    assert found.low == max(free.low, -1)
    assert found.high == min(free.high, 1)
    assert (found.verdict, found.p, found.p_holm) == (free.verdict, free.p, free.p_holm)
    mean = interval_of_mean(x[0], n_boot=200)
    assert 0 <= mean.low <= mean.estimate <= mean.high <= 1


def test_bounds_that_a_metric_states() -> None:
    """Two seeds, one degree of freedom: t alone would reach from below 0 to beyond the number of candidates."""
    rng = np.random.default_rng(0)
    ranks = np.stack([rng.integers(1, 59, 58), rng.integers(1, 30, 58)]).astype(float)
    bounds = (1.0, 58.0)
    free, found = (interval_of_mean(ranks, statistic=np.median, n_boot=200, bounds=b) for b in (None, bounds))
    assert (free.low < 1, free.high > 58) == (True, True)
    assert (found.low, found.high) == bounds
    outcomes = Outcomes({"a": ranks, "b": 59 - ranks}, np.median, bounds=bounds, unit="ranks")
    difference = compare_arms({"rank": outcomes}).differences[0]
    assert -57 <= difference.low <= difference.high <= 57


def test_a_mean_that_states_bounds_is_not_taken_for_a_fraction() -> None:
    apart = np.stack([np.zeros(20), np.ones(20)])
    assert interval_of_mean(apart, n_boot=200).high == 1.0
    assert interval_of_mean(apart, n_boot=200, bounds=(0.0, np.inf)).high > 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).tolist() == []
    assert holm([0.7, 0.9]).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="must lie in"):
        holm([0.5, float("nan")])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_raw_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    assert (adjusted >= np.array(p) - 1e-15).all()
    assert (adjusted <= np.minimum(np.array(p) * len(p), 1) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
