"""Verdicts: what is called better, and what is not."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from counterpoint.registry import UnknownNameError
from counterpoint.statistics import (
    Comparison,
    Difference,
    Outcomes,
    Verdict,
    compare_arms,
    decide,
    sentence,
)


def hits(rate: float, n_seeds: int = 5, n: int = 400, seed: int = 0, spread: float = 0.01) -> np.ndarray:
    rng = np.random.default_rng([seed, int(rate * 1000)])
    return rng.random((n_seeds, n)) < rate + spread * rng.standard_normal((n_seeds, 1))


def one(a: Any, b: Any, **options: Any) -> Difference:
    settings = {k: options.pop(k) for k in ("paired_seeds", "n_boot", "confidence") if k in options}
    return compare_arms({"R@1": Outcomes({"a": a, "b": b}, **options)}, **settings).differences[0]


def test_better_and_worse_follow_the_direction() -> None:
    high, low = hits(0.8), hits(0.5)
    assert one(high, low).verdict is Verdict.BETTER
    assert one(low, high).verdict is Verdict.WORSE
    assert one(high, low, higher_is_better=False).verdict is Verdict.WORSE
    assert one(low, high, higher_is_better=False).verdict is Verdict.BETTER


def test_the_same_arm_twice_shows_nothing() -> None:
    x = hits(0.6)
    found = one(x, x)
    assert (found.estimate, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.verdict is Verdict.NOT_SHOWN
    assert one(x, x, margin=0.01).verdict is Verdict.EQUIVALENT


def test_below_five_seeds_a_verdict_is_suggestive() -> None:
    high, low = hits(0.9, n_seeds=4), hits(0.3, n_seeds=4)
    assert one(high, low).verdict is Verdict.SUGGESTIVE_BETTER
    assert one(low, high).verdict is Verdict.SUGGESTIVE_WORSE
    assert one(high, high.copy(), margin=0.01).verdict is Verdict.SUGGESTIVE_EQUIVALENT
    assert "4 seeds, fewer than 5" in one(high, low).notes


def test_one_seed_is_never_more_than_suggestive() -> None:
    found = one(hits(0.9, n_seeds=1), hits(0.1, n_seeds=1))
    assert found.verdict is Verdict.SUGGESTIVE_BETTER
    assert "only the test examples vary" in found.notes[0]
    assert found.seeds_needed is None


def test_two_fixed_models_are_suggestive_and_one_is_not() -> None:
    high, low = hits(0.9), hits(0.3)
    assert one(high[0], low[0]).verdict is Verdict.SUGGESTIVE_BETTER
    found = one(high, low[0])
    assert found.verdict is Verdict.BETTER
    assert found.n_seeds == 5


def test_equivalence_needs_the_whole_interval_within_the_margin() -> None:
    a, b = hits(0.80, n=4000, spread=0.002), hits(0.801, n=4000, spread=0.002)
    found = one(a, b, margin=0.05)
    assert found.verdict is Verdict.EQUIVALENT
    tight = max(abs(found.low), abs(found.high))
    assert one(a, b, margin=tight * 1.01).verdict is Verdict.EQUIVALENT
    assert one(a, b, margin=tight * 0.99).verdict is Verdict.NOT_SHOWN


def test_equivalence_is_as_hard_as_its_nearer_margin_in_a_family() -> None:
    """p of the nearer margin is 0.02, of the farther one hardly above 0: enough for one test, not for ten."""
    rng = np.random.default_rng(9)
    b, gaps = rng.standard_normal((8, 300)), rng.standard_normal(8)
    a = b + 0.1 * (gaps - gaps.mean() + 0.4)[:, None]
    interval = one(a, b, unit="").interval
    assert interval is not None
    assert interval.low < 0 < interval.estimate
    margin = next(m for m in np.linspace(interval.high, 1, 2000) if interval.p_value(float(m)) < 0.02)
    assert 10 * interval.p_value(-float(margin)) < 0.05
    outcomes = Outcomes({"a": a, "b": b}, unit="", margin=float(margin))
    alone = compare_arms({"m": outcomes}).differences
    family = compare_arms({f"m{k}": outcomes for k in range(10)}).differences
    assert {d.verdict for d in alone} == {Verdict.EQUIVALENT}
    assert {d.verdict for d in family} == {Verdict.NOT_SHOWN}


def test_a_difference_too_small_to_matter_is_equivalence() -> None:
    x = hits(0.5, n=4000, spread=0)
    y = x.copy()
    y[:, :40] = True
    better = one(y, x)
    assert better.low > 0
    assert better.verdict is Verdict.BETTER
    small = one(y, x, margin=0.1)
    assert small.verdict is Verdict.EQUIVALENT
    assert "a difference too small to matter" in sentence(small)


def test_holm_over_pairs_and_metrics_can_take_a_verdict_away() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.standard_normal((6, 200)) + 0.08, rng.standard_normal((6, 200)) - 0.08
    alone = one(a, b, unit="")
    assert alone.verdict is Verdict.BETTER
    assert alone.n_tests == 1
    noise = {f"noise {k}": Outcomes({"a": rng.random((6, 50)), "b": rng.random((6, 50))}) for k in range(30)}
    crowd = compare_arms({"x": Outcomes({"a": a, "b": b}, unit=""), **noise})
    found = crowd.find("a", "b", "x")
    assert found.low > 0
    assert found.p < 0.05 < found.p_holm
    assert found.verdict is Verdict.NOT_SHOWN
    assert "not after correction" in found.notes[-1]
    assert "Holm's correction over 31 tests" in crowd.multiplicity


def test_replicates_grow_with_the_family_so_that_holm_can_be_met() -> None:
    high, low = hits(0.9, n=60), hits(0.2, n=60)
    family = {f"m{k}": Outcomes({"a": high, "b": low}) for k in range(60)}
    found = compare_arms(family)
    assert 2 / found.n_boot * 60 < 0.05
    assert {d.verdict for d in found.differences} == {Verdict.BETTER}
    coarse = compare_arms(family, n_boot=500)
    assert {d.verdict for d in coarse.differences} == {Verdict.NOT_SHOWN}
    assert "with 500 replicates no corrected p is below 0.24" in coarse.multiplicity


def test_all_pairs_or_the_given_ones() -> None:
    arms = {"clip": hits(0.5), "slip": hits(0.6), "siglip": hits(0.7)}
    every = compare_arms({"m": Outcomes(arms)})
    assert [(d.a, d.b) for d in every.differences] == [
        ("clip", "slip"),
        ("clip", "siglip"),
        ("slip", "siglip"),
    ]
    some = compare_arms({"m": Outcomes(arms)}, pairs=[("slip", "clip")])
    assert [(d.a, d.b, d.n_tests) for d in some.differences] == [("slip", "clip", 1)]
    assert some.differences[0].low == pytest.approx(-every.find("clip", "slip", "m").high)
    with pytest.raises(UnknownNameError, match="unknown arm 'clpi': did you mean 'clip'"):
        compare_arms({"m": Outcomes(arms)}, pairs=[("clpi", "slip")])
    with pytest.raises(UnknownNameError, match="unknown difference"):
        some.find("clip", "slip", "m")


def test_of_many_arms_each_is_compared_with_one() -> None:
    arms = {"clip": hits(0.5), "slip": hits(0.6), "siglip": hits(0.7)}
    every = compare_arms({"m": Outcomes(arms)})
    without = Outcomes({name: arms[name] for name in ("slip", "siglip")})
    found = compare_arms({"m": Outcomes(arms), "of some": without}, reference="clip")
    assert [(d.a, d.b, d.metric, d.n_tests) for d in found.differences] == [
        ("slip", "clip", "m", 2),
        ("siglip", "clip", "m", 2),
    ]
    assert found.differences[0].low == pytest.approx(-every.find("clip", "slip", "m").high)
    assert found.multiplicity.startswith("Holm's correction over 2 tests (each arm against clip × metrics)")
    with pytest.raises(ValueError, match="pairs and reference are both given"):
        compare_arms({"m": Outcomes(arms)}, pairs=[("slip", "clip")], reference="clip")
    with pytest.raises(UnknownNameError, match="unknown arm 'clpi': did you mean 'clip'"):
        compare_arms({"m": Outcomes(arms)}, reference="clpi")


def failing(x: np.ndarray, *seeds: int) -> dict[int, np.ndarray | None]:
    return {seed: None if seed in seeds else row for seed, row in enumerate(x)}


def test_an_arm_with_failed_runs_cannot_win() -> None:
    high, low = hits(0.9, n_seeds=7), hits(0.3, n_seeds=7)
    found = one(failing(high, 3), low)
    assert found.verdict is Verdict.NOT_SHOWN
    assert found.low > 0
    assert (found.failed_a, found.failed_b, found.n_failed, found.n_seeds) == ((3,), (), 1, 6)
    assert found.notes[0] == "a failed on seeds [3]"
    assert "flatters" in found.notes[1]
    assert one(low, failing(high, 3)).verdict is Verdict.NOT_SHOWN


def test_an_arm_with_failed_runs_can_lose() -> None:
    high, low = hits(0.9, n_seeds=7), hits(0.3, n_seeds=7)
    found = one(high, failing(low, 0, 1))
    assert found.verdict is Verdict.BETTER
    assert found.n_failed == 2
    assert "b failed on seeds [0, 1]" in sentence(found)


def test_equivalence_to_a_failing_arm_is_withheld() -> None:
    x = hits(0.7, n_seeds=6)
    assert one(x, failing(x, 2), margin=0.05).verdict is Verdict.NOT_SHOWN


def test_a_failure_that_leaves_four_seeds_leaves_a_suggestion() -> None:
    assert one(hits(0.9), failing(hits(0.3), 4)).verdict is Verdict.SUGGESTIVE_BETTER


def test_an_arm_that_always_failed_is_stated() -> None:
    found = one(hits(0.9), dict.fromkeys(range(5)))
    assert found.verdict is Verdict.NOT_SHOWN
    assert (found.n_seeds, found.n_failed, found.p_holm) == (0, 5, 1.0)
    assert np.isnan(found.estimate)
    assert sentence(found).startswith("No verdict on a and b on R@1: b failed on seeds [0, 1, 2, 3, 4]; ")
    assert found.to_dict()["estimate"] is None


def test_seeds_without_partner_are_left_out_and_named() -> None:
    x, y = hits(0.8, n_seeds=7), hits(0.6, n_seeds=7)
    found = one(dict(enumerate(x)), {seed: y[seed] for seed in range(5)})
    assert found.n_seeds == 5
    assert found.notes == ("seeds [5, 6] of a have no partner and were left out",)
    assert found.estimate == pytest.approx(x[:5].mean() - y[:5].mean())
    unpaired = one(dict(enumerate(x)), {seed: y[seed] for seed in range(5)}, paired_seeds=False)
    assert unpaired.notes == ()
    assert unpaired.estimate == pytest.approx(x.mean() - y[:5].mean())


def test_pairing_removes_the_luck_that_arms_share() -> None:
    rng = np.random.default_rng(9)
    luck = rng.standard_normal((6, 1))
    a, b = luck + 0.1 + 0.1 * rng.standard_normal((6, 100)), luck + 0.1 * rng.standard_normal((6, 100))
    assert one(a, b, unit="").verdict is Verdict.BETTER
    assert one(a, b, unit="", paired_seeds=False).verdict is Verdict.NOT_SHOWN


def test_a_metric_that_is_no_mean() -> None:
    rng = np.random.default_rng(10)
    ranks = {"a": rng.integers(1, 20, (5, 101)), "b": rng.integers(10, 60, (5, 101))}

    def median(values: np.ndarray) -> float:
        return float(np.median(values))

    found = compare_arms(
        {"median rank": Outcomes(ranks, statistic=median, higher_is_better=False, unit="ranks")}
    )
    assert found.differences[0].verdict is Verdict.BETTER
    assert found.differences[0].estimate == np.mean(np.median(ranks["a"], 1) - np.median(ranks["b"], 1))


def test_to_dict_is_json() -> None:
    record = json.loads(json.dumps(one(hits(0.9), hits(0.3)).to_dict()))
    assert {"a", "b", "metric", "estimate", "low", "high", "p", "p_holm", "verdict"} <= set(record)
    assert record["verdict"] == "better"


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ({}, "outcomes is empty"),
        ({"m": Outcomes({"a": np.ones((5, 3))})}, "a comparison needs two"),
        ({"m": Outcomes({"a": np.ones((5, 3)), "b": np.ones((5, 4))})}, "different numbers of examples"),
        (
            {"m": Outcomes({"a": np.full((5, 3), np.nan), "b": np.ones((5, 3))})},
            "arm 'a' on 'm', seed 0, has 3",
        ),
        ({"m": Outcomes({"a": np.ones((5, 3)), "b": np.ones((5, 3))}, margin=-1.0)}, "margin of m is -1.0"),
    ],
)
def test_bad_input(outcomes: dict[str, Outcomes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_arms(outcomes)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_that_is_none_is_named(confidence: float) -> None:
    with pytest.raises(ValueError, match="give a number between 0 and 1"):
        compare_arms({"m": Outcomes({"a": hits(0.9), "b": hits(0.3)})}, confidence=confidence)


def test_a_pair_with_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="compares 'a' with itself"):
        compare_arms({"m": Outcomes({"a": np.ones((5, 3)), "b": np.ones((5, 3))})}, pairs=[("a", "a")])


def test_the_comparison_is_reproducible() -> None:
    def run(seed: int) -> Comparison:
        return compare_arms({"m": Outcomes({"a": hits(0.6), "b": hits(0.62)})}, seed=seed)

    first, again, other = (run(seed).differences[0] for seed in (0, 0, 1))
    assert (first.low, first.high, first.p) == (again.low, again.high, again.p)
    assert first.interval is not None
    assert other.interval is not None
    assert not np.array_equal(first.interval.replicates, other.interval.replicates)


def test_the_room_needs_no_torch() -> None:
    code = "import sys; from counterpoint.statistics import *; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(("seeds", "verdict"), [(3, Verdict.SUGGESTIVE_BETTER), (5, Verdict.NOT_SHOWN)])
def test_correction_takes_away_stays_suggestive_below_five_seeds(seeds: int, verdict: Verdict) -> None:
    rng = np.random.default_rng(0)
    arms = {"a": rng.random((seeds, 400)) < 0.8, "b": rng.random((seeds, 400)) < 0.5}
    interval = compare_arms({"R@1": Outcomes(arms)}).differences[0].interval
    assert interval is not None
    assert interval.low > 0
    found, why = decide(interval, p_holm=0.5)
    assert found is verdict
    assert "not after correction" in why


@pytest.mark.parametrize(("examples", "verdict"), [(9, Verdict.NOT_SHOWN), (10, Verdict.BETTER)])
def test_a_handful_of_examples_shows_nothing(examples: int, verdict: Verdict) -> None:
    arms = {"a": np.ones((5, examples)), "b": np.zeros((5, examples))}
    (difference,) = compare_arms({"R@1": Outcomes(arms)}).differences
    assert difference.verdict is verdict
    assert any("too few to say anything of others" in note for note in difference.notes) == (examples < 10)
