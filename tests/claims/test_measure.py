from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from counterpoint.claims.lab import measure
from counterpoint.statistics import t_interval

RNG = np.random.default_rng(0)
HITS = {seed: (RNG.random(300) < 0.5 + 0.02 * seed).astype(float) for seed in range(6)}
MORE = {seed: np.maximum(hits, RNG.random(300) < 0.3) for seed, hits in HITS.items()}


def test_a_difference_is_that_of_the_mean_outcomes() -> None:
    found = measure.difference("gain", "R@1", MORE, HITS, expected="above")
    gains = [MORE[s].mean() - HITS[s].mean() for s in HITS]
    assert found.estimate == pytest.approx(np.mean(gains))
    t = t_interval(gains)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= t.low + 1e-12
    assert found.high >= t.high - 1e-12
    assert (found.n_seeds, found.verdict) == (6, "reproduced")


def test_a_failed_run_takes_its_seed_out_of_every_arm() -> None:
    failed: dict[int, np.ndarray | None] = {**MORE, 0: None}
    found = measure.difference("gain", "R@1", failed, HITS, expected="above")
    assert found.n_seeds == 5
    assert found.estimate == pytest.approx(np.mean([MORE[s].mean() - HITS[s].mean() for s in range(1, 6)]))


def test_without_a_seed_on_which_all_arms_finished_there_is_no_number() -> None:
    found = measure.difference("gain", "R@1", {0: HITS[0], 1: None}, {0: None, 1: HITS[1]}, expected="above")
    assert (found.estimate, found.low, found.high) == (None, None, None)
    assert found.verdict == "inconclusive"


def test_what_selects_is_selected_again_in_every_resample() -> None:
    arms = {name: RNG.random((6, 200)) < 0.5 for name in "abcd"}
    best = measure.of_arms("best of four equals", "R@1", arms, lambda s: max(s.values()), expected="above")
    mean = max(float(runs.mean()) for runs in arms.values())
    assert best.estimate == pytest.approx(mean)
    one = measure.of_arms("one", "R@1", {"a": arms["a"]}, lambda s: s["a"], expected="above")
    assert best.high is not None
    assert one.high is not None
    assert best.high > mean > 0.5  # noise favours the best of several


@pytest.mark.parametrize(("events", "worlds"), [(0, 50), (7, 300), (50, 50)])
def test_a_rate_has_the_clopper_pearson_interval(events: int, worlds: int) -> None:
    found = measure.rate("rate", "share", np.arange(worlds) < events, expected="below", bound=0.1)
    low = stats.beta.ppf(0.025, events, worlds - events + 1) if events else 0.0
    high = stats.beta.ppf(0.975, events + 1, worlds - events) if events < worlds else 1.0
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.estimate == events / worlds


def test_a_number_that_one_seed_lacks_is_not_measured() -> None:
    found = measure.over_seeds("examples", "count", [3.0, np.nan, 4.0, 5.0, 6.0], expected="below", bound=9)
    assert found.estimate is None
    assert found.verdict == "inconclusive"


def test_two_seeds_carry_no_verdict_and_an_exact_value_does() -> None:
    assert measure.over_seeds("x", "x", [1.0, 1.0], expected="above").verdict == "inconclusive"
    assert measure.exact("x", "x", 1.0, expected="above").verdict == "reproduced"
    assert measure.exact("x", "x", -1.0, expected="above").verdict == "not reproduced"
