"""The laboratory's parts: scores in resamples, grids and how they are indexed, tuning, and smoke runs."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import counterpoint_reproductions as claims
from counterpoint.statistics import Outcomes, linear_contrast, seeds_needed, t_interval
from counterpoint.statistics.width import expected_width
from counterpoint_reproductions import CLAIMS
from counterpoint_reproductions.lab import (
    Arrays,
    Lab,
    Result,
    ScoreEstimate,
    ThresholdOrigin,
    above,
    arm,
    below,
    best,
    combined,
    decides,
    effects,
    exact,
    mean,
    per_seed,
    rate,
    secondary,
    within,
    worst,
)
from counterpoint_reproductions.lab.plan import planned_parts
from counterpoint_reproductions.lab.quick import OWN, SIZES, reduced
from counterpoint_reproductions.lab.results import corrected
from counterpoint_reproductions.lab.score import TAIL, resamples

RNG = np.random.default_rng(0)
HITS = {name: (RNG.random((6, 200)) < level) for name, level in (("a", 0.6), ("b", 0.62), ("c", 0.5))}
A, B, C = (arm(name, hits, "R@1") for name, hits in HITS.items())
CALLS: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def ends_of(score: Any) -> tuple[float | None, ...]:
    found = score.measure()
    return found.estimate, found.low, found.high


# Scores


def test_a_difference_has_the_interval_of_the_linear_contrast() -> None:
    contrast = linear_contrast(Outcomes(dict(HITS)), lambda s: s["a"] - s["c"]).interval
    assert ends_of(A - C) == (contrast.estimate, contrast.low, contrast.high)
    t = t_interval(HITS["a"].mean(1) - HITS["c"].mean(1))
    assert contrast.estimate == pytest.approx(t.estimate)
    assert contrast.low <= t.low + 1e-12  # seeds alone
    assert contrast.high >= t.high - 1e-12
    assert (A - C).label == "a − c"


def test_whatever_selected_is_selected_again_in_every_resample() -> None:
    arms = dict(HITS)
    contrast = linear_contrast(Outcomes(arms), lambda s: max(s["a"], s["b"]) - min(s["c"], s["a"]))
    interval = contrast.interval
    score = best([A, B]) - worst([C, A])
    assert ends_of(score) == (interval.estimate, interval.low, interval.high)
    assert score.label == "best of a, b − worst of c, a"


def test_arithmetic_is_that_of_the_arms_scores() -> None:
    a, b = HITS["a"].mean(), HITS["b"].mean()
    assert (mean([A, B]) * 2 - 0.5).measure().estimate == pytest.approx(a + b - 0.5)
    assert ((A + B) / A).measure().estimate == pytest.approx((a + b) / a)
    assert combined(lambda s: s[0] * s[1], "product", [A, B]).measure().estimate == pytest.approx(a * b)


def test_arms_of_equal_name_are_different_arms() -> None:
    other = arm("a", HITS["c"], "R@1")
    assert (A - other).measure().estimate == pytest.approx(HITS["a"].mean() - HITS["c"].mean())
    assert (A - A).measure() == ScoreEstimate(0.0, 0.0, 0.0, 6, 0.0, 0.0)


def test_two_statistics_are_refused_and_exact_numbers_have_none() -> None:
    median = arm("m", HITS["b"], "R@1", np.median)
    with pytest.raises(ValueError, match="different statistics"):
        A - median
    assert (exact(1.0, "R@1") - median).measure().estimate == pytest.approx(
        1 - np.median(HITS["b"], 1).mean()
    )


def test_numbers_per_seed_have_the_t_interval_seed_by_seed() -> None:
    x, y = RNG.random(5), RNG.random(5)
    score = best([per_seed("x", "slope", x), per_seed("y", "slope", y)]) - 0.5
    t = t_interval(np.maximum(x, y) - 0.5)
    assert ends_of(score) == (t.estimate, t.low, t.high)
    assert score.measure().seed_sd == pytest.approx(np.std(np.maximum(x, y), ddof=1))


def test_numbers_per_seed_and_outcomes_per_example_do_not_mix() -> None:
    with pytest.raises(ValueError, match=r"a: examples; slope: seeds.*by_seed"):
        (A - per_seed("slope", "R@1", [0.1, 0.2])).measure()


def test_number_not_finite_or_has_no_common_seed_is_not_measured() -> None:
    assert above(per_seed("x", "x", [1.0, np.nan, 2.0])).estimate is None
    one, other = arm("one", {0: HITS["a"][0], 1: None}, "x"), arm("other", {0: None, 1: HITS["a"][1]}, "x")
    assert (one - other).measure().estimate is None


def test_a_number_of_the_one_run_that_is_left_has_no_interval() -> None:
    left = arm("left", {0: 0.25, 1: None, 2: None}, "slope", by_seed=True)
    assert left.measure() == ScoreEstimate(0.25, n_seeds=1)
    result = above(left)
    assert (result.estimate, result.low, result.verdict, result.needed) == (0.25, None, "inconclusive", None)


def test_a_failed_run_takes_its_seed_out_of_every_arm() -> None:
    failed = arm("failed", {**dict(enumerate(HITS["a"])), 0: None}, "R@1")
    found = (failed - C).measure()
    assert found.n_seeds == 5
    assert found.estimate == pytest.approx(HITS["a"][1:].mean() - HITS["c"][1:].mean())


def test_a_label_says_once_what_two_arms_have_in_common() -> None:
    x, y, z = (
        arm(label, HITS["a"], "R@1") for label in (("DCL", "batch 8"), ("NT-Xent", "batch 8"), ("DCL", "16"))
    )
    assert (x - y).label == "DCL − NT-Xent, batch 8"
    assert (x - z).label == "batch 8 − 16, DCL"
    assert (x.about("clean") - y.about("clean")).label == "DCL − NT-Xent, batch 8, clean"


# Results


def test_result_takes_name_and_metric_from_score_unless_given() -> None:
    assert (above(A - C).name, above(A - C).metric) == ("a − c", "R@1")
    named = below(A - C, 0.3, name="gap", metric="hits")
    assert (named.name, named.metric, named.bound) == ("gap", "hits", 0.3)
    assert within(exact(0.01, "error"), 0.1).verdict == "reproduced"


def test_what_decides_and_what_stands_beside_it() -> None:
    results = (*decides(above(A, **SHARE)), *secondary(above(A), below(B)))
    assert [result.decides for result in results] == [True, False, False]
    with pytest.raises(ValueError, match="a: it decides, so declare how small an effect matters"):
        decides(above(A))


@pytest.mark.parametrize(("count", "worlds"), [(0, 50), (7, 300), (50, 50)])
def test_a_rate_has_the_clopper_pearson_interval(count: int, worlds: int) -> None:
    found = rate(np.arange(worlds) < count)
    low = stats.beta.ppf(0.025, count, worlds - count + 1) if count else 0.0
    high = stats.beta.ppf(0.975, count + 1, worlds - count) if count < worlds else 1.0
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert (found.estimate, found.n_seeds) == (count / worlds, worlds)


def test_a_rate_needs_a_name() -> None:
    events = np.arange(300) < 9
    found = below(rate(events), 0.1, name="false positives", metric="share of worlds")
    assert (found.name, found.metric, found.verdict) == ("false positives", "share of worlds", "reproduced")
    with pytest.raises(ValueError, match="give name= and metric="):
        below(rate(events), 0.1)


def test_two_seeds_carry_no_verdict_and_an_exact_value_does() -> None:
    assert above(per_seed("x", "x", [1.0, 1.0])).verdict == "inconclusive"
    assert above(exact(1.0, "x")).verdict == "reproduced"
    assert above(exact(-1.0, "x")).verdict == "not reproduced"


# What would decide a result


def test_inconclusive_result_says_how_many_seeds_would_decide_it() -> None:
    values = np.array([0.3, -0.2, 0.25, -0.1, 0.15])
    found = above(per_seed("gain", "x", values))
    assert found.needed is not None
    expected = seeds_needed(values, float(values.mean()))
    assert (found.needed.towards, found.needed.seeds, found.needed.examples) == (
        "reproduced",
        expected.n,
        1.0,
    )


def test_where_the_examples_are_too_few_it_asks_for_more_of_them() -> None:
    # Every seed says the same of the examples, so that only these vary.
    hits = np.tile(np.arange(60) < 33, (5, 1))
    found = above(arm("a", hits, "R@1") - 0.5)
    if found.needed is None or found.needed.examples is None:
        pytest.fail("nothing is said of the examples")
    assert found.needed.seeds is None
    assert found.needed.examples > 1


def test_a_decided_or_missing_result_needs_nothing() -> None:
    assert above(A).needed is None
    assert above(per_seed("x", "x", [1.0, np.nan])).needed is None


# Roles


SHARE = effects.convention("share")
SEEDS_OF_ONE = [0.02, 0.05, 0.01, 0.04, 0.03]


def test_what_is_declared_says_which_role_a_result_has() -> None:
    gain, source = per_seed("gain", "R@1", SEEDS_OF_ONE), SHARE["source"]
    roles = {
        "superiority": above(gain, **SHARE),
        "non-inferiority": above(gain, **effects.tolerance("share")),
        "equivalence": within(gain, 0.01, source=source),
        "level": above(gain, 0.6, **effects.level("table 2")),
        "exact": above(exact(1.0, "x")),
        None: above(gain),
    }
    assert {role: result.role for role, result in roles.items()} == {role: role for role in roles}
    assert (
        roles["superiority"].delta == roles["non-inferiority"].margin == roles["equivalence"].margin == 0.01
    )
    assert roles["equivalence"].bound == 0.0
    assert within(gain, 0.01).bound == 0.01  # the rule without roles has the margin there
    with pytest.raises(ValueError, match='role="level"'):
        above(gain, 0.6, source=source)
    with pytest.raises(ValueError, match=r"the bound, 0.01, is the margin; leave out margin=0.02"):
        within(gain, 0.01, margin=0.02, source=source)


def test_parts_are_refuted_at_confidence_that_grows_with_number() -> None:
    results = corrected(
        [
            *decides(above(A - C, **SHARE), below(A - B, **SHARE)),
            *decides(above(exact(1.0, "x"))),  # chance plays no part in it
            *secondary(above(B - C, **SHARE), above(A - C)),
            *decides(above(rate(np.arange(300) < 9), 0.5, name="r", metric="share", **effects.level("x"))),
        ]
    )
    first, _, number, aside, undeclared, share = results
    at_k = (A - C).measure(1 - 0.05 / 3)
    assert at_k.low is not None
    assert at_k.high is not None
    assert first.wide == (min(at_k.low, first.low or 0), max(at_k.high, first.high or 0))
    assert aside.wide == (aside.low, aside.high)
    assert (number.wide, undeclared.wide) == (None, None)
    low, high = stats.binomtest(9, 300).proportion_ci(1 - 0.05 / 3)
    assert share.wide == (pytest.approx(low), pytest.approx(high))
    assert {type(result) for result in results} == {Result}
    assert (first.low, first.high) == ends_of(A - C)[1:]


def test_value_with_one_interval_cannot_be_one_of_several_decide() -> None:
    fixed = ScoreEstimate(0.1, 0.05, 0.15, 5)
    one = above(fixed, name="x", metric="y", **SHARE)
    assert corrected(decides(one))[0].wide == (0.05, 0.15)
    with pytest.raises(ValueError, match=r"give a Score, or ScoreEstimate\(again=...\)"):
        corrected(decides(one, above(A, **SHARE)))


def test_a_result_that_holds_for_all_outcomes_does_not_decide() -> None:
    always, never_below = best([A, C]) - C, worst([A, C]) - C
    for result in (above(always, **SHARE), below(never_below, **SHARE)):
        with pytest.raises(ValueError, match="whatever the scores of its arms are"):
            corrected(decides(result))
        corrected(secondary(result))
    corrected(
        decides(above(best([A, B]) - C, **SHARE), below(A / B, 1.0, **SHARE), above(mean([A, B]), **SHARE))
    )


@pytest.mark.parametrize("confidence", [0.95, 0.975, 1 - 0.05 / 14])
def test_enough_resamples_lie_beyond_either_end(confidence: float) -> None:
    assert resamples(confidence) * (1 - confidence) / 2 >= TAIL * (1 - 1e-9)


def test_an_interval_at_a_higher_confidence_has_more_resamples() -> None:
    confidence = 1 - 0.05 / 4
    interval = linear_contrast(
        Outcomes(dict(HITS)), lambda s: s["a"] - s["c"], confidence=confidence, n_boot=4000
    ).interval
    measured = (A - C).measure(confidence)
    assert (measured.low, measured.high) == (interval.low, interval.high)


def test_an_open_result_asks_for_the_nearer_of_two_ends() -> None:
    # Far below δ: the estimate refutes with fewer seeds than an interval narrower than δ takes.
    near = corrected(decides(above(per_seed("x", "x", [0.6, -0.5, 0.5, -0.6, 0.9]), **DELTA_OF_ONE)))[0]
    assert near.needed is not None
    assert (near.needed.towards, near.needed.by) == ("not reproduced", "estimate")
    assert near.needed.seeds is not None
    sd = float(np.std([0.6, -0.5, 0.5, -0.6, 0.9], ddof=1))
    assert expected_width(near.needed.seeds, sd, 0.0, 0.95, 0.95) >= 1.0
    # Just below δ: only a narrow interval could tell it from δ.
    below_it = corrected(decides(above(per_seed("x", "x", [0.1, 1.9, -0.5, 2.1, 1.2]), **DELTA_OF_ONE)))[0]
    assert below_it.needed is not None
    assert (below_it.needed.towards, below_it.needed.by) == ("not reproduced", "width")
    sd = float(np.std([0.1, 1.9, -0.5, 2.1, 1.2], ddof=1))
    assert below_it.needed.seeds is not None
    assert expected_width(below_it.needed.seeds, sd, 0.0, 0.95, 0.95) < 1.0
    assert expected_width(below_it.needed.seeds - 1, sd, 0.0, 0.95, 0.95) >= 1.0


DELTA_OF_ONE: effects.Effect = {"delta": 1.0, "source": ThresholdOrigin(kind="paper", text="1 point")}


def test_a_plan_compares_expected_widths_with_what_was_declared() -> None:
    pilot = [
        *decides(
            above(per_seed("wide", "x", [0.0, 2.0]), **DELTA_OF_ONE),
            above(per_seed("narrow", "x", [0.0, 0.02]), **DELTA_OF_ONE),
            above(per_seed("level", "x", [0.0, 0.02]), **effects.level("x")),
        ),
        *secondary(above(per_seed("aside", "x", [0.0, 0.02]), **DELTA_OF_ONE)),
    ]
    wide, narrow, level = planned_parts(pilot, 5)
    assert wide.width == pytest.approx(expected_width(5, 2**0.5, 0.0, 0.95, 1 - 0.05 / 3))
    assert (wide.decides, narrow.decides, level.decides) == (False, True, None)
    assert wide.seeds is not None
    assert wide.seeds > 5
    assert level.width == narrow.width


def test_a_pilot_has_seeds_that_no_test_has(tmp_path: Path) -> None:
    lab = Lab(tmp_path, pilot=True)
    assert lab.seeds(7) == lab.seeds(range(1, 6)) == (1000, 1001)
    assert lab.seeds((7,)) == (7,)
    assert lab.planned == 7


# Grids


def trained(loss: str, batch: int, lr: float, seed: int, steps: int) -> Arrays:
    CALLS.append({"loss": loss, "batch": batch, "lr": lr, "seed": seed, "steps": steps})
    rng = np.random.default_rng([len(loss), batch, seed])
    return {
        "correct": (rng.random(50) < lr).astype(float),
        "steps": np.arange(steps, dtype=float),
        "validation": np.array(-abs(lr - batch / 100)),
        "low 0.5": np.full(50, 0.25),
    }


def counted(arm: str) -> Arrays:
    return {"number": np.array(3.0), "outcomes": np.ones(40)}


AXES = {"loss": ("NT-Xent", "DCL"), "batch": (8, 16, 64)}


def test_a_grid_is_indexed_by_the_values_of_its_axes(tmp_path: Path) -> None:
    runs = Lab(tmp_path).grid(trained, AXES, lr=0.5, steps=3)
    assert len(CALLS) == 2 * 3 * 5
    assert list(runs)[:2] == [("NT-Xent", 8), ("NT-Xent", 16)]
    accuracy = runs.scores("correct", "accuracy")
    expected = np.mean([run["correct"].mean() for run in runs["DCL", 16].values()])
    assert accuracy["DCL", 16].measure().estimate == pytest.approx(expected)
    assert (accuracy["DCL", 16] - accuracy["NT-Xent", 16]).label == "DCL − NT-Xent, batch 16"
    with pytest.raises(KeyError, match=r"no point of the grid \(loss: NT-Xent, DCL; batch: 8, 16, 64\)"):
        accuracy["DCL", 9]


def test_an_arm_is_the_same_however_often_it_is_asked_for(tmp_path: Path) -> None:
    accuracy = Lab(tmp_path).grid(trained, AXES, lr=0.5, steps=3).scores("correct", "accuracy")
    score = accuracy["DCL", 8] - accuracy["DCL", 8]
    assert len(score.arms) == 1
    assert ends_of(score) == (0.0, 0.0, 0.0)


def test_outcomes_that_are_no_examples_are_reduced_by_seed(tmp_path: Path) -> None:
    runs = Lab(tmp_path).grid(trained, AXES, lr=0.5, steps=5)
    found = runs.scores("steps", "mean step", by_seed=np.mean)["DCL", 8].measure()
    assert (found.estimate, found.n_seeds) == (2.0, 5)
    last = runs.scores("steps", "last step", by_seed=lambda steps: steps[-1])
    assert last.means([("DCL", 8)], digits=0) == "DCL, batch 8 4"


def test_rest_of_an_index_fills_the_places_of_an_outcomes_name(tmp_path: Path) -> None:
    scores = Lab(tmp_path).grid(trained, AXES, lr=0.5, steps=3).scores("{} {:g}", "share")
    assert scores["DCL", 8, "low", 0.5].measure().estimate == 0.25
    assert scores["DCL", 8, "low", 0.5].label == "DCL, batch 8, low, 0.5"
    assert scores.means([("DCL", 8, "low", 0.5)]) == "DCL, batch 8, low, 0.5 0.250"


def test_function_without_chance_exact_numbers_one_fixed_model(tmp_path: Path) -> None:
    runs = Lab(tmp_path).grid(counted, {"arm": ("x", "y")}, seeds=None)
    assert runs.scores("number", "count")["x"].measure().n_seeds is None
    assert runs["x"][None]["number"] == 3.0
    assert runs.scores("outcomes", "hits")["y"].measure().estimate == 1.0


def test_named_combinations_of_settings_are_an_axis(tmp_path: Path) -> None:
    arms = {"slow": {"loss": "DCL", "lr": 0.1}, "fast": {"loss": "DCL", "lr": 0.9}}
    runs = Lab(tmp_path).grid(trained, {"arm": arms}, seeds=2, batch=8, steps=2)
    assert [call["lr"] for call in CALLS] == [0.1, 0.1, 0.9, 0.9]
    assert runs.scores("correct", "accuracy")["fast"].label == "fast"


def test_tuning_chooses_by_seeds_that_are_not_tested(tmp_path: Path) -> None:
    runs = Lab(tmp_path).tuned(trained, AXES, over={"lr": (0.05, 0.1, 0.2, 0.6)}, steps=2)
    assert {point: values["lr"] for point, values in runs.chosen.items()} == {
        (loss, batch): lr for loss in AXES["loss"] for batch, lr in ((8, 0.1), (16, 0.2), (64, 0.6))
    }
    tried, tested = CALLS[: 2 * 3 * 4 * 2], CALLS[2 * 3 * 4 * 2 :]
    assert {call["seed"] for call in tried} == {1000, 1001}
    assert {call["seed"] for call in tested} == set(range(5))
    assert runs.choices.startswith("NT-Xent, batch 8: 0.1; NT-Xent, batch 16: 0.2; ")


def test_second_run_has_seeds_of_own_where_first_counts_from_0(tmp_path: Path) -> None:
    lab, axes, given = Lab(tmp_path, second=3), {"loss": ("DCL",)}, {"batch": 8, "lr": 0.5, "steps": 3}
    runs = lab.grid(trained, axes, **given)
    assert list(runs["DCL"]) == [2000, 2001, 2002]
    assert runs.first("DCL") is runs["DCL"][2000]
    assert list(lab.grid(trained, axes, seeds=(7,), **given)["DCL"]) == [7]


# Smoke runs


def test_smoke_run_has_the_ends_of_axes_few_steps_and_two_seeds(tmp_path: Path) -> None:
    runs = Lab(tmp_path, quick=True).grid(trained, AXES, lr=0.5, steps=300)
    assert {(call["loss"], call["batch"]) for call in CALLS} == {
        (a, b) for a in AXES["loss"] for b in (8, 64)
    }
    assert {call["seed"] for call in CALLS} == {0, 1}
    assert {call["steps"] for call in CALLS} == {3}
    # Every point of the full design can be named, and is measured at the nearest end.
    assert runs["DCL", 16] is runs["DCL", 64]
    accuracy = runs.scores("correct", "accuracy")
    gaps = [accuracy["DCL", batch] - accuracy["NT-Xent", batch] for batch in AXES["batch"]]
    assert [gap.label for gap in gaps] == [f"DCL − NT-Xent, batch {batch}" for batch in AXES["batch"]]
    assert accuracy["DCL", 16].label == "DCL, batch 16"


def test_a_smoke_run_tunes_between_the_ends_with_one_seed(tmp_path: Path) -> None:
    runs = Lab(tmp_path, quick=True).tuned(trained, AXES, over={"lr": (0.05, 0.1, 0.6)}, steps=2)
    tried = [call for call in CALLS if call["seed"] == 1000]
    assert {call["lr"] for call in tried} == {0.05, 0.6}
    assert runs.chosen["DCL", 8] == {"lr": 0.05}


@pytest.mark.parametrize("slug", CLAIMS.names())
def test_no_claim_asks_for_a_smoke_run(slug: str) -> None:
    """The sizes that are smaller in one are settings that `counterpoint_reproductions.lab.quick` knows."""
    spec = find_spec(CLAIMS.reference(slug).partition(":")[0])
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    asked = {
        node.lineno
        for node in ast.walk(tree)
        if "quick" in {getattr(node, name, None) for name in ("id", "arg", "attr")}
    }
    assert not asked, (
        f"{spec.origin}: lines {sorted(asked)} ask for a smoke run; give the size as a setting in lab.grid"
    )


def test_a_smoke_run_knows_no_setting_that_no_claim_has() -> None:
    folder = Path(claims.__file__).parent
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in folder.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    keys = [key for node in nodes if isinstance(node, ast.Dict) for key in node.keys]
    named = {key.value for key in keys if isinstance(key, ast.Constant)}
    named |= {node.arg for node in nodes if isinstance(node, ast.keyword)}
    assert SIZES | OWN.keys() <= named


def test_a_smoke_run_mines_pairs_by_looser_quantiles() -> None:
    assert reduced("similar", 0.98) == 0.2
    assert reduced("different", 0.2) == 0.9
    assert reduced("asked", 50) == 4
    assert reduced("family", (20, 40, 320, 500)) == (2, 2, 3, 5)
