"""The number of seeds needed: against a simulation of the test itself, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from counterpoint.statistics import Outcomes, compare_arms, seeds_needed
from counterpoint.statistics.power import from_spread

PILOT = np.array([-1.0, 0.0, 1.0]) / 100  # standard deviation 0.01


@pytest.mark.parametrize("effect", [0.004, 0.006, 0.01])
def test_that_many_seeds_reach_the_power_and_one_less_does_not(effect: float) -> None:
    found = seeds_needed(PILOT, effect)
    assert found.n is not None
    rng = np.random.default_rng(0)

    def power(n: int) -> float:
        x = effect + 0.01 * rng.standard_normal((20_000, n))
        return float(np.mean(stats.ttest_1samp(x, 0, axis=1).pvalue < 0.05))

    error = 3 * np.sqrt(0.16 / 20_000)
    assert power(found.n) >= 0.8 - error
    if found.n > 5:
        assert power(found.n - 1) <= 0.8 + error


def test_never_fewer_than_a_verdict_needs() -> None:
    assert seeds_needed(PILOT, 10.0).n == 5
    assert seeds_needed([0.01, 0.01], 0.001).n == 5


def test_the_examples_set_a_floor() -> None:
    found = seeds_needed(PILOT, 0.01, example_se=0.005)
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert found.n is None
    assert found.smallest == pytest.approx(z * 0.005)
    assert found.examples_factor == pytest.approx((z * 0.5) ** 2)
    above = seeds_needed(PILOT, 0.015, example_se=0.005)
    assert above.n is not None
    assert above.n > (seeds_needed(PILOT, 0.015).n or 0)


def test_more_is_needed_for_less_effect_more_noise_more_confidence() -> None:
    def n(**options: float) -> int:
        found = seeds_needed(PILOT * options.pop("scale", 1.0), options.pop("effect", 0.006), **options).n
        assert found is not None
        return found

    assert n(effect=0.003) > n() > n(effect=0.02)
    assert n(scale=2.0) > n()
    assert n(confidence=0.99) > n()
    assert n(power=0.9) > n()


def test_absurd_numbers_are_said_to_be_so() -> None:
    found = seeds_needed(PILOT, 1e-6)
    assert found.n is None
    assert found.examples_factor == 1.0


def test_compare_asks_for_the_margin_or_a_point() -> None:
    rng = np.random.default_rng(1)
    x = {"a": rng.random((4, 300)) < 0.5, "b": rng.random((4, 300)) < 0.5}
    point, margin = (
        compare_arms({"m": Outcomes(x, margin=margin)}).differences[0].seeds_needed for margin in (None, 0.2)
    )
    assert point is not None
    assert margin is not None
    assert point.effect == 0.01
    assert margin.effect == 0.2
    assert point.n is None or margin.n is None or point.n > margin.n


def test_a_larger_family_needs_more_seeds() -> None:
    rng = np.random.default_rng(2)
    x = {"a": rng.standard_normal((6, 200)), "b": rng.standard_normal((6, 200))}
    shared = Outcomes(x, unit="", margin=0.3)

    def needed(tests: int) -> int:
        found = compare_arms({f"m{k}": shared for k in range(tests)}, n_boot=1000).differences[0].seeds_needed
        assert found is not None
        assert found.n is not None
        return found.n

    interval = compare_arms({"m": shared}, n_boot=1000).differences[0].interval
    assert interval is not None
    for tests in (1, 20):
        expected = from_spread(
            interval.seed_sd, 0.3, example_se=interval.example_se, power=0.8, confidence=1 - 0.05 / tests
        )
        assert needed(tests) == expected.n
    assert needed(20) > needed(1)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least 2 seeds"):
        seeds_needed([0.1], 0.1)
    with pytest.raises(ValueError, match="effect is 0"):
        seeds_needed(PILOT, 0.0)
    with pytest.raises(ValueError, match="must lie between"):
        seeds_needed(PILOT, 0.1, power=1.0)
