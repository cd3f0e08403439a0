"""Contrasts: linear ones equal what is known of them; selection is repeated in each resample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from counterpoint.statistics import (
    Outcomes,
    Verdict,
    compare_arms,
    linear,
    linear_contrast,
    t_interval,
)


def arms(seed: int, means: Mapping[str, float], n_seeds: int = 6, n: int = 80) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: mean + 0.1 * rng.standard_normal((n_seeds, 1)) + rng.standard_normal((n_seeds, n))
        for name, mean in means.items()
    }


def test_a_pair_as_a_contrast_equals_the_comparison() -> None:
    x = arms(0, {"a": 0.5, "b": 0.0})
    found = linear_contrast(Outcomes(x), linear({"a": 1, "b": -1}), n_boot=2000, seed=3)
    paired = compare_arms({"m": Outcomes(x)}, n_boot=2000, seed=3).differences[0].interval
    assert paired is not None
    assert found.interval.estimate == pytest.approx(paired.estimate)
    assert found.interval.over_seeds is not None
    t = t_interval(x["a"].mean(1), x["b"].mean(1))
    assert (found.interval.over_seeds.low, found.interval.over_seeds.high) == pytest.approx((t.low, t.high))
    # The order in which seeds and examples are drawn is the same, so the replicates are too.
    np.testing.assert_allclose(np.sort(found.interval.replicates), np.sort(paired.replicates), atol=1e-12)


def test_difference_of_differences() -> None:
    x = arms(1, {"clip/basic": 0.0, "slip/basic": 1.0, "clip/new": 2.0, "slip/new": 2.0})
    weights = {"slip/basic": 1, "clip/basic": -1, "slip/new": -1, "clip/new": 1}
    found = linear_contrast(Outcomes(x), linear(weights))
    by_seed = sum(w * x[name].mean(1) for name, w in weights.items())
    assert found.interval.estimate == pytest.approx(np.mean(by_seed))
    t = t_interval(by_seed)
    assert found.interval.over_seeds is not None
    assert found.interval.over_seeds.standard_error == pytest.approx(t.standard_error)
    assert found.verdict is Verdict.BETTER
    assert found.bias == pytest.approx(0, abs=4 * np.std(found.interval.replicates) / np.sqrt(2000))


def test_the_best_is_selected_again_in_each_resample() -> None:
    """Four arms that are equal: the best is partly luck, and the replicates show it as a bias."""
    x = arms(2, {"clip": 0.0, **{f"extra {k}": 0.0 for k in range(4)}})

    def advantage(scores: Mapping[str, float]) -> float:
        return max(value for name, value in scores.items() if name != "clip") - scores["clip"]

    found = linear_contrast(Outcomes(x), advantage)
    assert found.bias > 0
    best = max((name for name in x if name != "clip"), key=lambda name: x[name].mean())
    assert found.interval.estimate == pytest.approx(x[best].mean() - x["clip"].mean())
    fixed = linear_contrast(Outcomes(x), linear({best: 1, "clip": -1}))
    # Every replicate of the re-selected best is at least that of the arm that happened to win.
    assert (found.interval.replicates >= fixed.interval.replicates - 1e-12).all()
    assert (found.interval.replicates > fixed.interval.replicates + 1e-12).any()


def test_jackknife_of_a_function_by_hand() -> None:
    """Seeds 1, 2, 6 of one arm, squared: leave-one-out means 4, 3.5, 1.5."""
    x = {"a": np.array([[1.0, 1.0], [2.0, 2.0], [6.0, 6.0]])}
    found = linear_contrast(Outcomes(x), lambda scores: scores["a"] ** 2)
    without = np.array([16, 12.25, 2.25])
    variance = 2 / 3 * ((without - without.mean()) ** 2).sum()
    assert found.interval.over_seeds is not None
    assert found.interval.estimate == 9
    assert found.interval.over_seeds.standard_error == pytest.approx(np.sqrt(variance))
    assert found.verdict in (Verdict.NOT_SHOWN, Verdict.SUGGESTIVE_BETTER)


def test_common_seeds_failures_and_fixed_models() -> None:
    x = arms(3, {"a": 2.0, "b": 0.0}, n_seeds=7)
    runs = dict(enumerate(x["a"]))
    plain = linear_contrast(Outcomes({"a": runs, "b": x["b"][:6]}), linear({"a": 1, "b": -1}))
    assert plain.interval.n_seeds == 6
    assert plain.verdict is Verdict.BETTER
    assert plain.notes == ("seeds [6] of a were left out",)
    failed = linear_contrast(Outcomes({"a": {**runs, 2: None}, "b": x["b"]}), linear({"a": 1, "b": -1}))
    assert failed.verdict is Verdict.NOT_SHOWN
    assert failed.failed == {"a": (2,)}
    assert failed.interval.n_seeds == 6
    fixed = linear_contrast(Outcomes({"a": x["a"], "b": x["b"][0]}), linear({"a": 1, "b": -1}))
    assert fixed.interval.n_seeds == 7
    assert fixed.interval.estimate == pytest.approx(x["a"].mean() - x["b"][0].mean())


def test_equivalence_of_a_contrast() -> None:
    x = arms(4, {"a": 1.0})["a"]
    found = linear_contrast(Outcomes({"a": x, "b": x + 0.01}, margin=0.1), linear({"a": 1, "b": -1}))
    assert found.verdict is Verdict.EQUIVALENT


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="weights is empty"):
        linear({})
    with pytest.raises(ValueError, match="outcomes has no arms"):
        linear_contrast(Outcomes({}), linear({"a": 1}))
    with pytest.raises(ValueError, match="no seed is common"):
        linear_contrast(Outcomes({"a": {0: np.ones(3)}, "b": {1: np.ones(3)}}), linear({"a": 1, "b": -1}))
