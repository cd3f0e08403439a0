"""The rule of roles: the verdict of an interval on an effect, a margin or a level that was declared before the run."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from counterpoint import catalog
from counterpoint.catalog import entries, render
from counterpoint.catalog.digest import digest
from counterpoint.catalog.entries import evidence_folder
from counterpoint.catalog.evidence import Evidence, FirstRun, Machine, RequiredData, Result, ThresholdOrigin
from counterpoint.catalog.verdicts import ENOUGH_SEEDS, Judgement, Role, judge, judge_at_bound
from counterpoint.registry import source_of

SOURCE = ThresholdOrigin(kind="paper", text="half of 76.9 → 78.1 (ViT-B/32, linear probe)")
Units = st.integers(-64, 64).map(lambda n: n / 64)
"""Numbers whose sums and differences are exact."""
Lengths = st.integers(0, 64).map(lambda n: n / 64)
Roles = st.sampled_from(("superiority", "non-inferiority", "equivalence", "level"))


def rule_of(role: Role, size: float) -> dict[str, Any]:
    return {
        "superiority": {"delta": size},
        "non-inferiority": {"margin": size},
        "equivalence": {"margin": size},
    }.get(role, {})


@pytest.mark.parametrize(
    ("role", "interval", "wide", "rule", "verdict", "reason"),
    [
        ("superiority", (0.02, 0.06), None, {"delta": 0.05}, "reproduced", "holds"),
        ("superiority", (0.02, 0.04), None, {"delta": 0.05}, "not reproduced", "smaller"),
        ("superiority", (0.02, 0.04), (0.01, 0.05), {"delta": 0.05}, "reproduced", "holds"),
        ("superiority", (-0.01, 0.04), None, {"delta": 0.05}, "not reproduced", "smaller"),
        ("superiority", (-0.01, 0.04), (-0.02, 0.05), {"delta": 0.05}, "inconclusive", "wide"),
        ("superiority", (-0.03, -0.01), None, {"delta": 0.05}, "not reproduced", "opposite"),
        ("superiority", (0.52, 0.56), None, {"delta": 0.05, "bound": 0.5}, "reproduced", "holds"),
        ("non-inferiority", (-0.009, 0.1), None, {"margin": 0.01}, "reproduced", "holds"),
        ("non-inferiority", (-0.010, 0.1), None, {"margin": 0.01}, "inconclusive", "wide"),
        ("non-inferiority", (-0.030, -0.02), None, {"margin": 0.01}, "not reproduced", "worse"),
        ("non-inferiority", (-0.030, -0.02), (-0.04, 0.0), {"margin": 0.01}, "inconclusive", "wide"),
        ("equivalence", (-0.01, 0.01), None, {"margin": 0.01}, "reproduced", "holds"),
        ("equivalence", (-0.01, 0.02), None, {"margin": 0.01}, "inconclusive", "wide"),
        ("equivalence", (0.02, 0.03), None, {"margin": 0.01}, "not reproduced", "different"),
        ("equivalence", (-0.03, -0.02), None, {"margin": 0.01}, "not reproduced", "different"),
        ("level", (0.61, 0.7), None, {"bound": 0.6}, "reproduced", "holds"),
        ("level", (0.59, 0.7), None, {"bound": 0.6}, "inconclusive", "wide"),
        ("level", (0.5, 0.59), None, {"bound": 0.6}, "not reproduced", "missed"),
        ("exact", (0.1, 0.1), None, {}, "reproduced", "holds"),
        ("exact", (0.0, 0.0), None, {}, "not reproduced", "missed"),
        ("exact", (-0.1, 0.1), None, {}, "inconclusive", "wide"),
        ("exact", (0.01, 0.01), None, {"margin": 0.01}, "reproduced", "holds"),
        ("exact", (0.0, 0.02), None, {"margin": 0.01}, "inconclusive", "wide"),
        ("exact", (0.02, 0.02), None, {"margin": 0.01}, "not reproduced", "missed"),
    ],
)
def test_the_rule_of_each_role(
    role: Role,
    interval: tuple[float, float],
    wide: tuple[float, float] | None,
    rule: dict[str, Any],
    verdict: str,
    reason: str,
) -> None:
    n_seeds = None if role == "exact" else ENOUGH_SEEDS
    assert judge(role, *interval, wide, n_seeds=n_seeds, **rule) == (verdict, reason)
    if role != "exact":
        assert judge(role, *interval, wide, n_seeds=ENOUGH_SEEDS - 1, **rule) == ("inconclusive", "few seeds")
    assert judge(role, None, interval[1], wide, **rule) == ("inconclusive", "not measured")


@pytest.mark.parametrize(
    ("role", "rule", "message"),
    [
        ("superiority", {}, "needs delta"),
        ("superiority", {"delta": 0.1, "margin": 0.1}, "no margin"),
        ("superiority", {"delta": -0.1}, "negative"),
        ("non-inferiority", {}, "needs a margin"),
        ("non-inferiority", {"margin": 0.1, "delta": 0.1}, "takes no delta"),
        ("equivalence", {"margin": 0.0}, "positive margin"),
        ("level", {"margin": 0.1}, "takes no margin"),
    ],
)
def test_a_role_needs_its_number(role: Role, rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judge(role, 0.0, 1.0, None, **rule)


@given(
    role=Roles,
    low=Units,
    length=Lengths,
    more=Lengths,
    wider=Lengths,
    size=st.integers(1, 64),
    k=st.booleans(),
)
def test_wider_interval_never_decides_narrower_one_left_open(
    role: Role, low: float, length: float, more: float, wider: float, size: int, k: bool
) -> None:
    rule, high = rule_of(role, size / 64), low + length
    correction = more if k else 0.0
    narrow = judge(role, low, high, (low - correction, high + correction), n_seeds=5, **rule)
    low, high = low - wider, high + wider
    wide = judge(role, low, high, (low - correction, high + correction), n_seeds=5, **rule)
    if narrow.verdict == "inconclusive":
        assert wide == narrow


@given(low=Units, length=Lengths, more=Lengths, spare=st.integers(1, 64))
def test_interval_narrower_than_smallest_effect_always_decides(
    low: float, length: float, more: float, spare: int
) -> None:
    high = low + length
    delta = length + more + spare / 64  # high* − low < delta
    judgement = judge("superiority", low, high, (low - more, high + more), delta=delta, n_seeds=5)
    assert judgement.verdict != "inconclusive"


@given(low=Units, length=Lengths, bound=Units)
def test_with_one_part_and_no_smallest_effect_rule_is_at_bound(
    low: float, length: float, bound: float
) -> None:
    high = low + length
    assume(high != bound)  # touching the bound refutes at the bound, and leaves a role open
    at_bound = judge_at_bound("above", low, high, bound=bound, n_seeds=5)
    assert judge("superiority", low, high, None, bound=bound, delta=0.0, n_seeds=5).verdict == at_bound
    assert judge("level", low, high, None, bound=bound, n_seeds=5).verdict == at_bound


@given(low=Units, length=Lengths, bound=Units, margin=st.integers(1, 64))
def test_exact_values_are_judged_at_the_bound_or_its_margin(
    low: float, length: float, bound: float, margin: int
) -> None:
    high, m = low + length, margin / 64
    assert judge("exact", low, high, None, bound=bound).verdict == judge_at_bound(
        "above", low, high, bound=bound
    )
    assert judge("exact", low, high, None, margin=m).verdict == judge_at_bound("within", low, high, bound=m)


@given(role=Roles, low=Units, length=Lengths, more=Lengths, bound=Units, shift=Units, size=st.integers(1, 64))
def test_a_shift_of_value_and_bound_changes_nothing(
    role: Role, low: float, length: float, more: float, bound: float, shift: float, size: int
) -> None:
    def judged(by: float) -> Judgement:
        ends = low + by, low + length + by
        wide = ends[0] - more, ends[1] + more
        return judge(role, *ends, wide, bound=bound + by, n_seeds=5, **rule_of(role, size / 64))

    assert judged(0.0) == judged(shift)


def result(**changes: Any) -> Result:
    facts: dict[str, Any] = {
        "name": "gain",
        "metric": "mAP",
        "expected": "above",
        "n_seeds": 5,
        "role": "superiority",
        "delta": 0.006,
        "source": SOURCE,
        "estimate": -0.0008,
        "low": -0.0039,
        "high": 0.0024,
        "wide": (-0.0046, 0.003),
    }
    return Result(**(facts | changes))


def record(*results: Result, **changes: Any) -> Evidence:
    facts: dict[str, Any] = {
        "slug": "siglip",
        "claim": "It helps.",
        "command": "counterpoint reproduce siglip",
        "date": datetime.date(2025, 1, 2),
        "machine": Machine(cores=2),
        "seconds": 60.0,
        "results": results,
    }
    return Evidence(**(facts | changes))


def test_below_mirrors_above() -> None:
    facts = {"estimate": 0.0008, "low": -0.0024, "high": 0.0039, "wide": (-0.003, 0.0045)}
    assert result(expected="below", **facts).judgement == result().judgement == ("not reproduced", "smaller")
    assert result(expected="below", low=0.001, high=0.0039, wide=(0.0, 0.0045)).verdict == "not reproduced"
    assert (
        result(expected="below", estimate=-0.005, low=-0.008, high=-0.002, wide=(-0.009, -0.001)).verdict
        == "reproduced"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": None}, "say where delta"),
        ({"delta": 0}, "no effect"),
        ({"refuted_at": -0.1}, "with a role has none"),
        ({"expected": "within"}, "does not go with"),
        ({"role": "exact", "delta": None}, "no seeds"),
        ({"wide": (-0.001, 0.003)}, "does not contain"),
        ({"role": None}, "without a role"),
    ],
)
def test_a_declaration_that_makes_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        result(**change)


def test_all_deciding_results_declare_or_none_does() -> None:
    undeclared = {"role": None, "delta": None, "source": None, "wide": None}
    old = result(**undeclared)
    assert record(old, result(decides=False)).verdict == "inconclusive"
    with pytest.raises(ValidationError, match="no role, though other deciding results have one"):
        record(result(), old)
    exact = Result(name="e", metric="m", expected="above", estimate=1.0, low=1.0, high=1.0, role="exact")
    assert record(result(), exact).verdict == "not reproduced"
    with pytest.raises(ValidationError, match="decides as one of 2, so it needs wide"):
        record(result(), result(wide=None))


def test_record_with_roles_read_back_one_without_none_of_fields(tmp_path: Path) -> None:
    written = record(result(), declared="0123456789abcdef")
    written.write(tmp_path / "siglip.json")
    assert Evidence.read(tmp_path / "siglip.json") == written
    record(result(role=None, delta=None, source=None, wide=None)).write(tmp_path / "old.json")
    plain = json.loads((tmp_path / "old.json").read_text())
    assert not {"declared", "earlier"} & set(plain)
    assert not {"role", "delta", "margin", "source", "wide", "needed"} & set(plain["results"][0])


def test_committed_evidence_is_written_as_it_was_read(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for path in sorted(evidence_folder().glob("*.json")):
        with subtests.test(path.stem):
            Evidence.read(path).write(tmp_path / path.name)
            assert json.loads((tmp_path / path.name).read_text()) == json.loads(path.read_text())


@pytest.mark.parametrize(
    ("changes", "towards", "effect"),
    [
        ({"estimate": 0.008}, "reproduced", 0.008),
        ({"estimate": 0.002}, "not reproduced", 0.004),
        ({"estimate": -0.002}, "not reproduced", 0.008),
        ({"estimate": 0.4, "bound": 0.3, "role": "level", "delta": None}, "reproduced", 0.1),
        ({"estimate": 0.0, "role": "non-inferiority", "margin": 0.1, "delta": None}, "reproduced", 0.1),
        ({"estimate": -0.3, "role": "non-inferiority", "margin": 0.1, "delta": None}, "not reproduced", 0.2),
        (
            {"estimate": -0.3, "role": "equivalence", "expected": "within", "margin": 0.5, "delta": None},
            "reproduced",
            0.2,
        ),
    ],
)
def test_an_estimate_leans_to_the_verdict_it_would_have(
    changes: dict[str, Any], towards: str, effect: float
) -> None:
    stated, by = result(low=-1.0, high=1.0, wide=(-2.0, 2.0), **changes).leaning()
    assert stated == towards
    assert by == pytest.approx(effect)


# Second runs


def open_result(**needed: Any) -> Result:
    return result(
        low=-0.1,
        high=0.1,
        wide=(-0.2, 0.2),
        needed=RequiredData(towards="not reproduced", effect=0.006 + 0.0008, **needed),
    )


@pytest.mark.parametrize(
    ("needed", "seeds", "examples"),
    [
        ({"seeds": 12, "examples": 1.0, "by": "width"}, 24, 1.0),
        ({"examples": 2.5, "by": "width"}, 5, 5.0),
        ({"examples": 22.0, "by": "width"}, None, None),  # no run grows its test set that much
        ({"examples": 1.0, "by": "estimate"}, None, None),
    ],
)
def test_a_second_run_has_the_seeds_or_the_test_set_that_decide(
    needed: dict[str, Any], seeds: int | None, examples: float | None
) -> None:
    first = FirstRun(date=datetime.date(2025, 1, 2), seconds=60.0, results=(open_result(**needed),))
    assert (first.second_seeds, first.second_examples) == (seeds, examples)


def holding(**needed: Any) -> Result:
    wide = {"low": -0.1, "high": 0.3, "wide": (-0.2, 0.4), "estimate": 0.1}
    return result(**wide, needed=RequiredData(towards="reproduced", effect=0.1, **needed))


@pytest.mark.parametrize(
    ("results", "seeds", "examples"),
    [
        ((holding(seeds=8, examples=1.0), holding(examples=2.5)), 16, 5.0),
        ((holding(seeds=8, examples=1.0), holding(seeds=9, examples=1.0)), 18, 1.0),
        ((holding(examples=2.0), holding(examples=2.5)), 5, 5.0),
        ((holding(seeds=8, examples=1.0), holding(examples=22.0)), None, None),
        ((holding(seeds=8, examples=1.0), holding(examples=1.0)), None, None),
        ((holding(seeds=8, examples=1.0), open_result(examples=2.5)), 5, 5.0),  # one refutation is enough
        ((holding(examples=22.0), open_result(seeds=12, examples=1.0), open_result(examples=1.5)), 24, 1.0),
    ],
)
def test_a_second_run_decides_all_results_or_refutes_one(
    results: tuple[Result, ...], seeds: int | None, examples: float | None
) -> None:
    first = FirstRun(date=datetime.date(2025, 1, 2), seconds=60.0, results=results)
    assert (first.second_seeds, first.second_examples) == (seeds, examples)
    if seeds is None:
        with pytest.raises(ValueError, match="no number of seeds is known to decide it"):
            record(*results).left_open()
    else:
        assert record(*results).left_open() == first.model_copy(update={"results": results})


# What a reader sees


def test_a_declared_effect_is_shown_with_its_source() -> None:
    one = record(result(wide=(-0.0039, 0.0024)), declared="0")
    assert render.declarations(one) == [
        "not reproduced (smaller): gain: −0.001 [−0.004, 0.002]; the smallest effect of interest was 0.006",
        "  δ = half of 76.9 → 78.1 (ViT-B/32, linear probe), declared before the run",
    ]
    two = render.declarations(record(result(), result(name="other")))
    assert two[0].startswith(
        "not reproduced (smaller): gain: −0.001 [−0.004, 0.002], 97.5 %: [−0.005, 0.003]; the smallest"
    )
    assert two[1] == "  δ = half of 76.9 → 78.1 (ViT-B/32, linear probe)"
    level = result(role="level", delta=None, bound=0.6, estimate=0.7, low=0.65, high=0.75, wide=None)
    assert render.declarations(record(level))[0] == "reproduced: gain: 0.70 [0.65, 0.75]; the level was 0.6"
    assert render.declarations(record(result(role=None, delta=None, source=None, wide=None))) == []


def test_rules_in_a_few_signs() -> None:
    assert render.expectation(result()) == "> 0, δ 0.006"
    noninferior = {"role": "non-inferiority", "delta": None, "margin": 0.01}
    assert render.expectation(result(**noninferior)) == "> -0.01"
    assert render.expectation(result(expected="below", **noninferior)) == "< 0.01"
    near = {"role": "equivalence", "delta": None, "expected": "within", "margin": 0.01}
    assert render.expectation(result(**near)) == "within ±0.01"
    assert render.expectation(result(bound=0.5, **near)) == "within 0.5±0.01"


def test_open_result_states_its_width_and_what_would_decide_it() -> None:
    shown = render.questions(record(open_result(seeds=12, examples=1.0, by="width")))
    assert shown[0] == (
        "Undecided: gain. Its interval is 0.3 wide; δ is 0.006. About 12 seeds would decide it by an interval narrower "
        "than δ."
    )
    assert "--decide" in shown[1]
    larger = render.questions(record(open_result(examples=2.5, by="estimate")))
    assert "a new test set, 5.0 times as large" in larger[1]


# Stale evidence


def test_a_claim_that_changed_since_its_evidence_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "evidence_folder", lambda: tmp_path)
    paper = replace(catalog.paper("siglip"), claim="counterpoint_reproductions.siglip:run")
    text = source_of("counterpoint_reproductions.siglip")
    for declared, stale in ((digest(text), False), (digest(text + "\nMORE = 1\n"), True)):
        record(result(wide=(-0.0039, 0.0024)), declared=declared).write(tmp_path / "siglip.json")
        assert paper.changed_since(Evidence.read(tmp_path / "siglip.json")) is stale
        assert render.as_dict(paper)["stale"] is stale
        assert (render.STALE in [str(part) for part in render.page(paper).renderables]) is stale
    record(result(wide=(-0.0039, 0.0024))).write(tmp_path / "siglip.json")
    assert "stale" not in render.as_dict(paper)  # nothing says which claim it was


def test_a_digest_is_that_of_the_definitions() -> None:
    text = 'def f(x):\n    """Add."""\n    return x + 1\n'
    assert digest(text) == digest("# a comment\n\ndef f( x ):\n    return (x+1)")
    assert digest(text) != digest(text.replace("1", "2"))
    assert digest("x = ''") != digest("x = 'a'")  # a string that is a value is no docstring


def test_committed_evidence_says_which_claim_it_was_made_by() -> None:
    """Evidence with a role has the digest of its claim's file, and is stale if and only if that in the tree differs."""
    package = Path(catalog.__file__).parents[2]
    for paper in catalog.papers():
        if paper.evidence is None:
            continue
        made = Evidence.read(paper.evidence)
        if made.declared is None:
            with_roles = [result.name for result in made.results if result.role is not None]
            assert not with_roles, (
                f"{paper.slug}: {with_roles} have a role, and nothing says which claim it was"
            )
            assert not paper.changed_since(made)
            continue
        assert paper.claim is not None
        file = package / (paper.claim.partition(":")[0].replace(".", "/") + ".py")
        assert paper.changed_since(made) is (made.declared != digest(file.read_text(encoding="utf-8")))
