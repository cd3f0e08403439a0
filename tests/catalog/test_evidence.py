from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from counterpoint.catalog.entries import evidence_folder
from counterpoint.catalog.evidence import Evidence, Machine, RequiredData, Result
from counterpoint.catalog.render import questions, undecided
from counterpoint.catalog.verdicts import ENOUGH_SEEDS, judge_at_bound

Numbers = st.floats(-10, 10, allow_nan=False)


def result(**changes: Any) -> Result:
    facts: dict[str, Any] = {"name": "gain", "metric": "R@1", "expected": "above", "n_seeds": 5}
    return Result(**(facts | {"estimate": 0.2, "low": 0.1, "high": 0.3} | changes))


def evidence(*results: Result, **changes: Any) -> Evidence:
    facts: dict[str, Any] = {
        "slug": "siglip",
        "claim": "The sigmoid loss wins in small batches.",
        "command": "counterpoint reproduce siglip",
        "date": datetime.date(2025, 1, 2),
        "machine": Machine(cores=2, torch="2.4"),
        "seconds": 60.0,
        "results": results,
    }
    return Evidence(**(facts | changes))


@pytest.mark.parametrize(
    ("expected", "low", "high", "rule", "verdict"),
    [
        ("above", 0.1, 0.3, {}, "reproduced"),
        ("above", 0.0, 0.3, {}, "inconclusive"),  # touching the bound is not above it
        ("above", -0.1, 0.3, {}, "inconclusive"),
        ("above", -0.3, 0.0, {}, "not reproduced"),
        ("above", 0.1, 0.3, {"bound": 0.2}, "inconclusive"),
        ("above", -0.3, -0.01, {"refuted_at": -0.05}, "inconclusive"),
        ("above", -0.3, -0.06, {"refuted_at": -0.05}, "not reproduced"),
        ("below", -0.3, -0.1, {}, "reproduced"),
        ("below", -0.3, 0.0, {}, "inconclusive"),
        ("below", 0.0, 0.2, {}, "not reproduced"),
        ("below", 0.02, 0.05, {"bound": 0.06, "refuted_at": 0.10}, "reproduced"),
        ("below", 0.05, 0.20, {"bound": 0.06, "refuted_at": 0.10}, "inconclusive"),
        ("below", 0.12, 0.20, {"bound": 0.06, "refuted_at": 0.10}, "not reproduced"),
        ("within", -0.01, 0.02, {"bound": 0.02}, "reproduced"),
        ("within", -0.01, 0.03, {"bound": 0.02}, "inconclusive"),
        ("within", 0.03, 0.05, {"bound": 0.02}, "not reproduced"),
        ("within", -0.05, -0.03, {"bound": 0.02}, "not reproduced"),
        ("within", 0.03, 0.05, {"bound": 0.02, "refuted_at": 0.04}, "inconclusive"),
        ("above", None, 0.3, {}, "inconclusive"),
        ("above", float("nan"), 0.3, {}, "inconclusive"),
        ("above", 0.1, float("inf"), {}, "inconclusive"),
    ],
)
def test_judge_at_bound(
    expected: Any, low: float | None, high: float | None, rule: dict[str, Any], verdict: str
) -> None:
    assert judge_at_bound(expected, low, high, n_seeds=ENOUGH_SEEDS, **rule) == verdict
    assert judge_at_bound(expected, low, high, **rule) == verdict  # no chance in it
    assert judge_at_bound(expected, low, high, n_seeds=ENOUGH_SEEDS - 1, **rule) == "inconclusive"


@given(a=Numbers, b=Numbers, bound=Numbers)
def test_below_mirrors_above(a: float, b: float, bound: float) -> None:
    low, high = min(a, b), max(a, b)
    assert judge_at_bound("above", low, high, bound=bound) == judge_at_bound(
        "below", -high, -low, bound=-bound
    )


@given(a=Numbers, b=Numbers, more=st.floats(0, 5))
def test_a_wider_interval_never_says_more(a: float, b: float, more: float) -> None:
    low, high = min(a, b), max(a, b)
    narrow, wide = judge_at_bound("above", low, high), judge_at_bound("above", low - more, high + more)
    assert wide in (narrow, "inconclusive")


def test_the_verdict_on_the_paper() -> None:
    holds, open_, refuted = result(), result(low=-0.1), result(low=-0.3, high=-0.1)
    assert evidence(holds, holds).verdict == "reproduced"
    assert evidence(holds, open_).verdict == "inconclusive"
    assert evidence(holds, refuted).verdict == "not reproduced"
    assert evidence(open_, refuted).verdict == "not reproduced"
    aside = result(low=-0.3, high=-0.1, decides=False)
    assert aside.verdict == "not reproduced"
    assert evidence(holds, aside).verdict == "reproduced"
    assert evidence(holds, quick=True).verdict == "inconclusive"


def test_a_file_reads_back_and_states_its_verdicts(tmp_path: Path) -> None:
    path = tmp_path / "new" / "siglip.json"
    written = evidence(result(), result(estimate=None, low=None, high=None, decides=False), notes="small")
    written.write(path)
    assert Evidence.read(path) == written
    content = json.loads(path.read_text())
    assert content["verdict"] == "reproduced"
    assert [found["verdict"] for found in content["results"]] == ["reproduced", "inconclusive"]
    assert [found.name for found in path.parent.iterdir()] == ["siglip.json"]  # no draft is left


@pytest.mark.parametrize("where", ["whole", "result"])
def test_a_typed_in_verdict_is_an_error(tmp_path: Path, where: str) -> None:
    path = tmp_path / "siglip.json"
    evidence(result(low=-0.1)).write(path)
    content = json.loads(path.read_text())
    (content if where == "whole" else content["results"][0])["verdict"] = "reproduced"
    path.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"siglip\.json is not valid evidence(.|\n)*numbers say 'inconclusive'"
    ):
        Evidence.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": 0.4}, "low: 0.4 is above high: 0.3"),
        ({"expected": "within"}, "give a positive margin"),
        ({"refuted_at": 0.1}, "put it at the bound or beyond"),
        ({"expected": "below", "refuted_at": -0.1}, "put it at the bound or beyond"),
        ({"low": float("nan")}, "finite"),
        ({"n_seeds": 0}, "n_seeds"),
        ({"expected": "upwards"}, "expected"),
        ({"verdikt": "reproduced"}, "verdikt"),
    ],
)
def test_a_result_that_makes_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        result(**change)


def test_evidence_needs_a_result_that_decides() -> None:
    with pytest.raises(ValidationError, match="none of them decides"):
        evidence(result(decides=False))
    with pytest.raises(ValidationError, match="at least 1 item"):
        evidence(results=())


# What would decide it


def open_result(estimate: float, needed: RequiredData | None = None, **rule: Any) -> Result:
    return result(estimate=estimate, low=estimate - 1, high=estimate + 1, needed=needed, **rule)


@pytest.mark.parametrize(
    ("estimate", "rule", "towards", "effect"),
    [
        (0.3, {"bound": 0.1}, "reproduced", 0.2),
        (-0.3, {"bound": 0.1}, "not reproduced", 0.4),
        (-0.3, {"bound": 0.1, "refuted_at": -0.1}, "not reproduced", 0.2),
        (0.0, {"bound": 0.1, "refuted_at": -0.1}, "inconclusive", 0.0),
        (0.3, {"expected": "below", "bound": 0.5}, "reproduced", 0.2),
        (0.7, {"expected": "below", "bound": 0.5}, "not reproduced", 0.2),
        (-0.3, {"expected": "within", "bound": 0.5}, "reproduced", 0.2),
        (-0.9, {"expected": "within", "bound": 0.5, "refuted_at": 0.7}, "not reproduced", 0.2),
    ],
)
def test_an_estimate_leans_to_the_verdict_it_would_have(
    estimate: float, rule: dict[str, Any], towards: str, effect: float
) -> None:
    found = open_result(estimate, **rule)
    assert found.verdict == "inconclusive"
    assert found.leaning() == (towards, pytest.approx(effect))


def test_what_would_decide_must_follow_from_the_numbers() -> None:
    with pytest.raises(ValidationError, match=r"the estimate says reproduced by 0\.3"):
        open_result(0.3, RequiredData(towards="not reproduced", effect=0.3))
    with pytest.raises(ValidationError, match="only an inconclusive result needs more data"):
        result(needed=RequiredData(towards="reproduced", effect=0.2))


def test_would_decide_read_back_written_where_there_something(tmp_path: Path) -> None:
    stated = open_result(0.3, RequiredData(towards="reproduced", effect=0.3, seeds=12, examples=1.0))
    found = evidence(stated, result())
    found.write(tmp_path / "siglip.json")
    assert Evidence.read(tmp_path / "siglip.json") == found
    assert found.undecided == (stated,)
    written = json.loads((tmp_path / "siglip.json").read_text())["results"]
    assert ["needed" in one for one in written] == [True, False]


@pytest.mark.parametrize(
    ("needed", "sentence"),
    [
        (None, "What would decide it is not known."),
        (
            RequiredData(towards="reproduced", effect=0.3, seeds=1200, examples=1.0),
            "About 1,200 seeds would confirm it.",
        ),
        (
            RequiredData(towards="reproduced", effect=0.3, examples=3.21),
            "at least 3.2 times as many are needed.",
        ),
        (RequiredData(towards="reproduced", effect=0.3, seeds=12), "if the test examples grow as they do"),
        (RequiredData(towards="reproduced", effect=0.3), "More than 10,000 seeds"),
    ],
)
def test_the_sentence_says_what_is_known(needed: RequiredData | None, sentence: str) -> None:
    assert sentence in undecided(open_result(0.3, needed))


def test_a_verdict_that_is_decided_leaves_nothing_open() -> None:
    refuted = result(estimate=-0.2, low=-0.3, high=-0.1)
    assert evidence(open_result(0.3), refuted).undecided == ()


def test_committed_evidence_is_undecided_says_would_decide_it(subtests: pytest.Subtests) -> None:
    for path in sorted(evidence_folder().glob("*.json")):
        with subtests.test(path.stem):
            for one in Evidence.read(path).undecided:
                assert one.needed is not None
                assert undecided(one)


def leaning_result(towards: str, seeds: int | None, **changes: Any) -> Result:
    """Return an inconclusive result that leans by 0.05 and would be decided by so many seeds."""
    sign = 1 if towards == "reproduced" else -1
    needed = RequiredData(towards="reproduced" if sign > 0 else "not reproduced", effect=0.05, seeds=seeds)
    return result(estimate=0.05 * sign, low=-0.1, high=0.1, needed=needed, **changes)


@pytest.mark.parametrize(
    ("results", "seeds"),
    [
        ((leaning_result("reproduced", 12),), 24),
        ((leaning_result("reproduced", 12), result()), 24),  # what holds needs nothing
        ((leaning_result("reproduced", 12), leaning_result("reproduced", 30)), 60),  # all have to hold
        ((leaning_result("reproduced", 12), leaning_result("refuted", 40)), 80),  # one refutation is enough
        ((leaning_result("refuted", 9), leaning_result("refuted", 40)), 18),
        ((leaning_result("reproduced", 12), leaning_result("reproduced", None)), None),
        ((leaning_result("reproduced", 12), leaning_result("refuted", 3, decides=False)), 24),
    ],
)
def test_a_second_run_has_seeds_for_the_cheapest_decision(
    results: tuple[Result, ...], seeds: int | None
) -> None:
    first = evidence(*results)
    if seeds is None:
        with pytest.raises(ValueError, match="no number of seeds is known to decide it"):
            first.left_open()
    else:
        left = first.left_open()
        assert left.second_seeds == seeds
        assert left.second_seconds == pytest.approx(first.seconds * seeds / 5)


def test_second_run_keeps_first_and_is_the_same_when_made_again(tmp_path: Path) -> None:
    first = evidence(leaning_result("reproduced", 12))
    second = evidence(result(n_seeds=24), earlier=first.left_open())
    path = tmp_path / "siglip.json"
    second.write(path)
    assert Evidence.read(path) == second
    assert second.left_open() == first.left_open()
    assert any("24 seeds of its own" in sentence for sentence in questions(second))


@pytest.mark.parametrize(
    ("decided", "message"),
    [
        (evidence(result()), "is reproduced"),
        (evidence(leaning_result("reproduced", 12), quick=True), "shows nothing"),
    ],
)
def test_evidence_that_leaves_nothing_open_has_no_second_run(decided: Evidence, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decided.left_open()


def test_an_open_verdict_says_why_no_further_run_was_made() -> None:
    (*_, examples) = questions(evidence(leaning_result("reproduced", None)))
    assert examples.startswith("No second run was made: seeds alone would not decide this")
    first = evidence(leaning_result("reproduced", 12))
    (*_, second) = questions(evidence(leaning_result("reproduced", 300), earlier=first.left_open()))
    assert second == "The second run was to decide this and did not; no third was made."


def test_an_open_verdict_says_the_price_of_a_second_run() -> None:
    cheap, dear = (
        evidence(leaning_result("reproduced", 12), seconds=seconds) for seconds in (60.0, 36_000.0)
    )
    assert any("--decide" in sentence and "5 minutes" in sentence for sentence in questions(cheap))
    assert any("48 hours" in sentence and "left to whoever" in sentence for sentence in questions(dear))
