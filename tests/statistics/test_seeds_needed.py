"""The number of seeds needed: against a simulation of the test itself, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from counterpoint.statistics import Difference, Outcomes, compare_arms, seeds_needed, sentence
from counterpoint.statistics.intervals import noise_variance
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


def test_more_needed_for_less_effect_more_noise_more_confidence() -> None:
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

    assert needed(20) > needed(1)


def hits(n: int, *seeds: set[int]) -> np.ndarray:
    """Return outcomes of ``n`` examples, a row per seed, 1 for those that are right."""
    return np.array([[float(example in right) for example in range(n)] for right in seeds])


def test_two_seeds_of_equal_scores_noise_of_examples_differ_on() -> None:
    """Every run has 2 of 58 right, so both seeds' differences are 0; each has 2 discordant examples."""
    arms = {"clip": hits(58, {6, 29}, {6, 28}), "siglip": hits(58, {13, 29}, {6, 9})}
    found = compare_arms({"m": Outcomes(arms)}).differences[0]
    assert found.interval is not None
    assert (found.interval.seed_sd, found.interval.example_se) == (0.0, 0.0)
    needed = found.seeds_needed
    assert needed is not None
    assert needed.n is not None
    # The standard deviation of one seed's difference is √2 / 58 = 2.44 points, for which t alone takes
    # (2.8 · 2.44)² = 47 seeds. The bootstrap's interval is √3 times as wide: ((1.96 √3 + 0.84) · 2.44)² = 107.
    assert 95 < needed.n < 120
    assert needed.at_least
    assert f"at least {needed.n} seeds are needed to show a difference of 1 point." in sentence(found)


def test_the_noise_is_that_of_the_discordant_examples() -> None:
    rng = np.random.default_rng(0)
    first, second = np.zeros(58), np.zeros(58)
    first[[6, 13]], second[[28, 9]] = (1, -1), (1, -1)
    scores = np.stack([first, second])[:, rng.integers(0, 58, (20_000, 58))].mean(2).T
    assert np.sqrt(noise_variance(scores)) == pytest.approx(np.sqrt(2) / 58, rel=0.03)
    assert noise_variance(scores[:, [0, 0]]) == 0  # seeds that agree on every example
    assert noise_variance(scores[:, :1]) == 0
    a, b = scores + 0.0, rng.permutation(scores)
    assert noise_variance(a, b) == pytest.approx(noise_variance(a) + noise_variance(b))
    assert noise_variance(a, b[:, :1]) == pytest.approx(noise_variance(a))


def test_the_noise_raises_the_spread_and_widens_the_bootstrap() -> None:
    def n(sd: float, noise_sd: float) -> int:
        needed = from_spread(sd, 0.01, example_se=0.0, power=0.8, confidence=0.95, noise_sd=noise_sd)
        assert needed.n is not None
        return needed.n

    assert n(0.0, 0.02) == n(0.02, 0.02) > n(0.02, 0.0) > n(0.0, 0.0) == 5


def test_that_many_seeds_give_a_verdict_in_four_of_five_studies() -> None:
    """Runs with a few right examples, drawn anew by each seed: all of the uncertainty is noise."""
    effect, a, b, n = 0.02, 0.07, 0.05, 100
    noise = np.sqrt((a * (1 - a) + b * (1 - b)) / n)
    needed = from_spread(0.0, effect, example_se=0.0, power=0.8, confidence=0.95, noise_sd=noise).n
    assert needed is not None
    rng = np.random.default_rng(0)

    def shown() -> bool:
        arms = {"a": rng.random((needed, n)) < a, "b": rng.random((needed, n)) < b}
        return compare_arms({"m": Outcomes(arms)}, n_boot=500).differences[0].low > 0

    assert 0.65 < np.mean([shown() for _ in range(100)]) < 0.92


def test_two_seeds_give_a_lower_bound() -> None:
    assert seeds_needed([0.0, 0.02], 0.01).at_least
    assert not seeds_needed([0.0, 0.02, 0.01], 0.01).at_least


def test_runs_agree_on_every_example_say_nothing_of_other_seeds() -> None:
    same = hits(58, {1, 2}, {1, 2})
    assert compare_arms({"m": Outcomes({"a": same, "b": same})}).differences[0].seeds_needed is None


def small_study(seed: int, seeds: int, n: int, shared: float, rates: tuple[float, float]) -> Difference:
    """Compare two arms whose runs are right at a rate; on a share of the examples an arm's runs agree."""
    rng = np.random.default_rng(seed)
    common, own, own_share = rng.random((2, 1, n)), rng.random((2, seeds, n)), rng.random((2, 1, n))
    ease = np.where(own_share < shared, common, own)
    arms = {name: ease[k] < rates[k] for k, name in enumerate("ab")}
    return compare_arms({"m": Outcomes(arms)}, n_boot=500).differences[0]


RATES = st.sampled_from([0.02, 0.05, 0.1, 0.5])


@given(
    st.integers(0, 2**32),
    st.integers(2, 8),
    st.integers(20, 150),
    st.sampled_from([0.0, 0.5, 0.95]),
    st.tuples(RATES, RATES),
)
def test_the_number_never_contradicts_the_interval_beside_it(
    seed: int, seeds: int, n: int, shared: float, rates: tuple[float, float]
) -> None:
    """The bootstrap's interval, narrowed by that many seeds as far as seeds can, is narrower than the effect."""
    study = small_study(seed, seeds, n, shared, rates)
    needed, interval = study.seeds_needed, study.interval
    if needed is None or needed.n is None:
        return
    assert interval is not None
    assert needed.n >= 5
    assert needed.at_least == (seeds < 3)
    of_examples = interval.example_se**2
    of_seeds = max(float(np.var(interval.replicates)) - of_examples, 0.0)
    narrowed = 1.96 * np.sqrt(of_examples + of_seeds * min(1.0, seeds / needed.n))
    assert narrowed < needed.effect * 1.05  # 500 replicates


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least 2 seeds"):
        seeds_needed([0.1], 0.1)
    with pytest.raises(ValueError, match="effect is 0"):
        seeds_needed(PILOT, 0.0)
    with pytest.raises(ValueError, match="must lie between"):
        seeds_needed(PILOT, 0.1, power=1.0)
