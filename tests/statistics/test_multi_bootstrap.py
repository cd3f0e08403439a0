"""The Multi-Bootstrap against the official implementation, hand-computed cases, and the traps of its card."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from counterpoint.statistics import StatisticsWarning, multi_bootstrap
from counterpoint.statistics.bootstrap import (
    average_over_seeds,
    one_sided_p,
    pair,
    seed_scores,
    summarise,
)
from counterpoint.statistics.outcomes import parse_runs

OFFICIAL = json.loads((Path(__file__).parent / "fixtures" / "official_multibootstrap.json").read_text())
CASES = {case["name"]: case for case in OFFICIAL["cases"]}


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    return float(np.mean(labels == predictions))


def f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    both = np.sum((labels == 1) & (predictions == 1))
    return float(2 * both / (np.sum(labels == 1) + np.sum(predictions == 1)))


def correlation(labels: np.ndarray, predictions: np.ndarray) -> float:
    if np.std(labels) == 0 or np.std(predictions) == 0:
        return float("nan")
    return float(np.corrcoef(labels, predictions)[0, 1])


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "correlation": correlation,
}


def sides_of(case: dict[str, Any]) -> dict[str, dict[int, np.ndarray]]:
    """The fixture's run table as seed → (rows, n)."""
    predictions = np.array(case["predictions"])
    n_base = len(case["baseline_seeds"])
    table = {"baseline": predictions[:n_base], "treatment": predictions[n_base:]}
    return {
        side: {seed: rows[np.array(case[f"{side}_seeds"]) == seed] for seed in set(case[f"{side}_seeds"])}
        for side, rows in table.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_replicates_equal_the_official_ones_on_the_same_draws(name: str) -> None:
    case = CASES[name]
    labels, score = np.array(case["labels"]), SCORES[case["score"]]
    sides = {side: parse_runs(runs, side) for side, runs in sides_of(case).items()}
    if case["options"]["paired_seeds"]:
        sides, _ = pair(sides)
    draws = case["draws"]
    everything = list(range(len(labels)))
    examples = np.array([draw.get("examples", everything) for draw in draws])
    for column, side in enumerate(("baseline", "treatment")):
        runs = sides[side]
        drawn = [draw.get(f"{side}_seeds", list(runs.seeds)) for draw in draws]
        index = np.array([[runs.seeds.index(seed) for seed in row] for row in drawn])
        ours = average_over_seeds(seed_scores(runs, examples, score, labels), index)
        np.testing.assert_allclose(ours, np.array(case["replicates"])[:, column], rtol=0, atol=1e-14)
        if case["score"] == "accuracy":
            # The fast path for means: outcomes are hits, and no function is called.
            hits = {seed: rows == labels for seed, rows in sides_of(case)[side].items()}
            fast = average_over_seeds(
                seed_scores(parse_runs(hits, side).restrict(runs.seeds), examples), index
            )
            np.testing.assert_allclose(fast, ours, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_the_report_equals_the_official_one(name: str) -> None:
    case, report = CASES[name], CASES[name]["report"]
    base, treatment = np.array(case["replicates"]).T
    for key, replicates in (("base", base), ("expt", treatment), ("delta", treatment - base)):
        summary = summarise(0.0, replicates, report["confidence"])
        got = (summary.mean, summary.low, summary.high)
        np.testing.assert_allclose(got, [report[key][k] for k in ("mean", "low", "high")], atol=1e-14)
    # A tie that rounding has moved off zero counts as a tie here; there, by the sign of the rounding.
    deltas = treatment - base
    ties = np.mean((deltas != 0) & (np.abs(deltas) < 1e-12))
    for expect, official in (("positive", report["delta"]["p"]), ("negative", case["p_negative"])):
        ours = one_sided_p(deltas, expect)  # type: ignore[arg-type] # both are literals
        assert official <= ours <= official + ties + 1e-15


def test_many_replicates_agree_with_many_official_ones() -> None:
    found = OFFICIAL["distribution"]
    labels, predictions = np.array(found["labels"]), np.array(found["predictions"])
    hits = predictions == labels
    n_boot = 20_000
    ours = multi_bootstrap(hits[5:], hits[:5], n_boot=n_boot, seed=3)
    error = found["standard_deviation"] / np.sqrt(n_boot / 2)  # of a difference of two means over n_boot
    assert abs(ours.delta.mean - found["mean"]) < 4 * error
    assert abs(ours.delta.standard_error / found["standard_deviation"] - 1) < 4 / np.sqrt(n_boot)
    assert abs(np.mean(ours.replicates[:, 0]) - found["baseline_mean"]) < 4 * found["baseline_sd"] / 100
    share = found["share_at_most_zero"]
    assert abs(ours.p - share) < 4 * np.sqrt(2 * share * (1 - share) / n_boot)
    for q, value in found["quantiles"].items():
        # At most and at least a quantile of theirs lie the shares q and 1 − q of ours (the values are few).
        slack = 4 * np.sqrt(2 * float(q) * (1 - float(q)) / n_boot)
        assert np.mean(ours.deltas <= value + 1e-9) >= float(q) - slack
        assert np.mean(ours.deltas >= value - 1e-9) >= 1 - float(q) - slack


@pytest.mark.filterwarnings("ignore:.*below 5")
def test_exact_distribution_of_two_seeds() -> None:
    """Two seeds with constant outcomes: the mean is 0, ½ or 1 with probabilities ¼, ½, ¼."""
    found = multi_bootstrap(np.array([[0.0, 0.0], [1.0, 1.0]]), np.zeros(2), n_boot=40_000)
    values, counts = np.unique(found.deltas, return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(counts / 40_000, [0.25, 0.5, 0.25], atol=4 * 0.5 / np.sqrt(40_000))
    assert found.delta.estimate == 0.5
    assert found.at_least(0.5) == pytest.approx(np.mean(found.deltas >= 0.5))


def outcomes(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_variance_has_the_two_way_form() -> None:
    """Var = (variance between seeds) / S + (variance between examples) / n for additive outcomes."""
    rng = np.random.default_rng(0)
    s, n = 8, 300
    seeds, examples = rng.standard_normal((s, 1)), 5 * rng.standard_normal((1, n))
    found = multi_bootstrap(seeds + examples, n_boot=20_000)
    expected = np.var(seeds) / s + np.var(examples) / n
    assert found.delta.standard_error**2 == pytest.approx(expected, rel=4 * np.sqrt(2 / 20_000))


# --- the card's traps


def test_examples_are_drawn_once_for_both_sides() -> None:
    """Two copies of the same arm differ by nothing in any replicate."""
    x = outcomes(0, (6, 50))
    found = multi_bootstrap(x, x)
    assert np.all(found.deltas == 0)
    assert found.delta.low == found.delta.high == 0
    # The same holds for the examples alone when seeds are not paired.
    found = multi_bootstrap(x, x, paired_seeds=False, sample_seeds=False)
    assert np.all(found.deltas == 0)


@pytest.mark.filterwarnings("ignore:.*below 5")
def test_a_metric_that_is_no_mean_is_recomputed() -> None:
    x = outcomes(1, (5, 41))
    found = multi_bootstrap(x, score=lambda v: float(np.median(v)), n_boot=200)
    assert found.treatment.estimate == pytest.approx(np.median(x, axis=1).mean())
    # The median of a resample of odd size is one of the outcomes; an average of means never is.
    single = multi_bootstrap(x[:1], score=lambda v: float(np.median(v)), n_boot=200, sample_seeds=False)
    assert set(single.deltas) <= set(x[0].tolist())


def test_retrieval_resamples_queries_and_keeps_the_gallery() -> None:
    rng = np.random.default_rng(2)
    similarity = rng.standard_normal((30, 30)) + 2 * np.eye(30)
    hit = similarity.argmax(1) == np.arange(30)

    def recall(queries: np.ndarray) -> float:
        return float(np.mean(similarity[queries].argmax(1) == queries))

    by_function = multi_bootstrap(np.arange(30), score=recall, seed=5)
    by_outcome = multi_bootstrap(hit, seed=5)
    np.testing.assert_allclose(by_function.deltas, by_outcome.deltas, atol=1e-14)


def test_a_seed_with_many_runs_counts_once() -> None:
    runs = {0: np.zeros((9, 4)), 1: np.ones((1, 4)), 2: np.ones(4), 3: np.zeros(4), 4: np.full((2, 4), 0.5)}
    found = multi_bootstrap(runs, n_boot=10)
    assert found.delta.estimate == pytest.approx(0.5)  # pooled rows would give 3 / 14


def test_few_seeds_are_warned_about() -> None:
    x = outcomes(3, (4, 20))
    with pytest.warns(StatisticsWarning, match=r"4 seeds: below 5"):
        found = multi_bootstrap(x, n_boot=10)
    assert len(found.warnings) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        multi_bootstrap(outcomes(3, (5, 20)), n_boot=10)
        multi_bootstrap(x, n_boot=10, sample_seeds=False)


def test_unpaired_draws_of_a_paired_design_are_conservative() -> None:
    luck = 3 * outcomes(4, (10, 1))
    base, treatment = luck + outcomes(5, (10, 200)), luck + 0.3 + outcomes(6, (10, 200))
    paired = multi_bootstrap(treatment, base)
    unpaired = multi_bootstrap(treatment, base, paired_seeds=False)
    assert unpaired.delta.high - unpaired.delta.low > 3 * (paired.delta.high - paired.delta.low)
    assert paired.p == 1 / 1000
    assert unpaired.p > 0.05


def test_undefined_resamples_are_dropped_and_counted() -> None:
    labels = np.array([0, 0, 0, 0, 0, 1])
    predictions = outcomes(7, (5, 6))
    with pytest.warns(StatisticsWarning, match="undefined on") as caught:
        found = multi_bootstrap(predictions, labels=labels, score=correlation, n_boot=2000)
    # Without the one positive, or with it only: (5/6)^6 + (1/6)^6.
    chance = (5 / 6) ** 6 + (1 / 6) ** 6
    assert abs(found.n_undefined / 2000 - chance) < 4 * np.sqrt(chance * (1 - chance) / 2000)
    assert len(found.replicates) == 2000 - found.n_undefined
    assert np.isfinite(found.replicates).all()
    assert len(caught) == 1


def test_a_score_that_is_never_defined_is_an_error() -> None:
    with pytest.raises(ValueError, match="NaN on every resample"):
        multi_bootstrap(outcomes(0, (5, 4)), labels=np.ones(4), score=correlation, n_boot=20)


def test_intervals_are_percentiles_and_p_is_one_sided() -> None:
    x, y = outcomes(8, (7, 60)), outcomes(9, (7, 60))
    found = multi_bootstrap(x, y, confidence=0.8)
    assert [found.delta.low, found.delta.high] == np.quantile(found.deltas, [0.1, 0.9]).tolist()
    assert found.p == np.mean(found.deltas <= 0)
    negative = multi_bootstrap(x, y, confidence=0.8, expect="negative")
    assert negative.p == np.mean(found.deltas >= 0)


def test_p_is_at_least_one_over_n_boot() -> None:
    x = outcomes(10, (6, 50))
    assert multi_bootstrap(x + 10, x, n_boot=250).p == 1 / 250


def test_the_generator_is_its_own() -> None:
    x, y = outcomes(11, (6, 30)), outcomes(12, (6, 30))
    first = multi_bootstrap(x, y, seed=4)
    np.random.seed(0)  # noqa: NPY002 # the global generator must not matter
    again = multi_bootstrap(x, y, seed=4)
    other = multi_bootstrap(x, y, seed=5)
    np.testing.assert_array_equal(first.replicates, again.replicates)
    assert not np.array_equal(first.replicates, other.replicates)


def test_paired_sides_are_cut_to_their_common_seeds() -> None:
    x, y = outcomes(13, (7, 30)), outcomes(14, (7, 30))
    a = dict(zip([0, 1, 2, 3, 4, 5, 6], x, strict=True))
    b = dict(zip([2, 3, 4, 5, 6, 7, 8], y, strict=True))
    with pytest.warns(StatisticsWarning) as caught:
        found = multi_bootstrap(a, b)
    assert [str(w.message) for w in caught] == [
        "seeds [0, 1] are in treatment only and were left out",
        "seeds [7, 8] are in baseline only and were left out",
    ]
    assert found.delta.estimate == pytest.approx(x[2:].mean() - y[:5].mean())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert multi_bootstrap(a, b, paired_seeds=False).delta.estimate == pytest.approx(x.mean() - y.mean())


def test_one_fixed_model_varies_by_its_examples_only() -> None:
    fixed, procedure = outcomes(15, (40,)), outcomes(16, (6, 40))
    found = multi_bootstrap(procedure, fixed)
    alone = multi_bootstrap(fixed, sample_seeds=False)
    np.testing.assert_array_equal(found.replicates[:, 0], alone.replicates[:, 1])
    seeds_only = multi_bootstrap(procedure, fixed, sample_examples=False)
    assert np.unique(seeds_only.replicates[:, 0]).tolist() == [pytest.approx(fixed.mean())]
    assert np.std(seeds_only.replicates[:, 1]) > 0


def test_flags_switch_each_source_off() -> None:
    x, y = outcomes(17, (6, 40)), outcomes(18, (6, 40))
    neither = multi_bootstrap(x, y, sample_seeds=False, sample_examples=False, n_boot=5)
    np.testing.assert_allclose(neither.deltas, x.mean() - y.mean())
    widths = [
        multi_bootstrap(x, y, sample_seeds=s, sample_examples=e, n_boot=4000).delta.standard_error ** 2
        for s, e in ((True, False), (False, True), (True, True))
    ]
    assert widths[2] > max(widths[:2])
    d = x - y
    assert widths[0] == pytest.approx(np.var(d.mean(1)) / 6, rel=4 * np.sqrt(2 / 4000))
    assert widths[1] == pytest.approx(np.var(d.mean(0)) / 40, rel=4 * np.sqrt(2 / 4000))


def test_relative_threshold() -> None:
    x = np.ones((5, 10))
    found = multi_bootstrap(1.2 * x, x, n_boot=20)
    assert found.at_least_relative(0.1) == 1
    assert found.at_least_relative(0.3) == 0
    with pytest.raises(ValueError, match="needs a baseline"):
        multi_bootstrap(x, n_boot=20).at_least_relative(0.1)


# --- properties

ARRAYS = hnp.arrays(
    np.float64, st.tuples(st.just(2), st.integers(5, 7), st.integers(1, 12)), elements=st.floats(-1, 1)
)


@given(ARRAYS)
def test_swapping_the_sides_mirrors_everything(x: np.ndarray) -> None:
    ab, ba = multi_bootstrap(x[0], x[1], n_boot=40), multi_bootstrap(x[1], x[0], n_boot=40)
    np.testing.assert_array_equal(ab.deltas, -ba.deltas)
    np.testing.assert_allclose([ab.delta.low, ab.delta.high], [-ba.delta.high, -ba.delta.low], atol=1e-14)
    assert ab.p == multi_bootstrap(x[1], x[0], n_boot=40, expect="negative").p


@given(ARRAYS, st.floats(-5, 5))
def test_a_constant_shift_shifts_everything(x: np.ndarray, shift: float) -> None:
    plain, moved = multi_bootstrap(x[0], x[1], n_boot=40), multi_bootstrap(x[0] + shift, x[1], n_boot=40)
    np.testing.assert_allclose(moved.deltas, plain.deltas + shift, atol=1e-12)
    np.testing.assert_allclose(moved.delta.low, plain.delta.low + shift, atol=1e-12)


@given(ARRAYS, st.randoms(use_true_random=False))
def test_the_order_of_seeds_in_a_mapping_does_not_matter(x: np.ndarray, random: Any) -> None:
    order = list(range(x.shape[1]))
    random.shuffle(order)
    plain = multi_bootstrap(dict(enumerate(x[0])), dict(enumerate(x[1])), n_boot=20)
    shuffled = multi_bootstrap({s: x[0, s] for s in order}, dict(enumerate(x[1])), n_boot=20)
    np.testing.assert_array_equal(plain.replicates, shuffled.replicates)


@given(ARRAYS, st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter_beyond_the_draws(x: np.ndarray, random: Any) -> None:
    n = x.shape[2]
    order = list(range(n))
    random.shuffle(order)
    draws = np.random.default_rng(0).integers(0, n, (20, n))
    moved = np.argsort(order)[draws]  # the same examples, wherever they now are
    plain = seed_scores(parse_runs(x[0], "x"), draws)
    np.testing.assert_allclose(seed_scores(parse_runs(x[0][:, order], "x"), moved), plain, atol=1e-13)


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"treatment": {0: [1.0, np.nan]}}, r"treatment, seed 0, has 1 outcomes that are NaN"),
        ({"treatment": {0: [1.0, 2.0], 1: [1.0]}}, r"treatment has \[1, 2\] examples"),
        ({"treatment": {}}, "treatment has no runs"),
        ({"treatment": {0: [1.0], 1: None}}, r"treatment has failed runs \(seeds \[1\]\)"),
        ({"treatment": np.ones((2, 3, 4))}, r"treatment has shape \(2, 3, 4\)"),
        ({"treatment": {0: []}}, "at least one example"),
        ({"treatment": {0: np.ones(3)}, "baseline": {0: np.ones(4)}}, "different numbers of examples"),
        ({"treatment": {0: np.ones(3)}, "baseline": {1: np.ones(3)}}, "no seed is common"),
        ({"treatment": np.ones((5, 3)), "n_boot": 0}, "n_boot is 0"),
        ({"treatment": np.ones((5, 3)), "confidence": 95.0}, "confidence is 95"),
        ({"treatment": np.ones((5, 3)), "labels": np.ones(3)}, "labels were given, but score is 'mean'"),
        (
            {"treatment": np.ones((5, 3)), "labels": np.ones(4), "score": accuracy},
            r"labels have shape \(4,\)",
        ),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        multi_bootstrap(**arguments)
