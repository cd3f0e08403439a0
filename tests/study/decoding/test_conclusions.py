"""The worth of a method, from outcomes whose truth is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoint.study.decoding.conclusions import conclude
from counterpoint.study.schema import DifferenceSummary
from fixtures.decoded import write_decoded

RULE = "plain,beta=0.1"


def worth(folder: Path, seeds: int = 5, **skills: float) -> dict[str, object]:
    named = {"plain": skills["plain"], RULE: skills["rule"], "vcd": skills["vcd"]}
    (found,) = write_decoded(folder, named, "vcd", seeds=seeds).conclusions
    return {"kind": found.kind, "firm": found.firm}


def test_a_contrast_that_helps(tmp_path: Path) -> None:
    assert worth(tmp_path, plain=0.5, rule=0.5, vcd=0.65) == {"kind": "contrast", "firm": True}


def test_a_rule_that_explains_it(tmp_path: Path) -> None:
    assert worth(tmp_path, plain=0.5, rule=0.65, vcd=0.65) == {"kind": "rule", "firm": True}


def test_a_rule_that_does_better_alone(tmp_path: Path) -> None:
    assert worth(tmp_path, plain=0.5, rule=0.8, vcd=0.65) == {"kind": "rule", "firm": True}


def test_no_difference(tmp_path: Path) -> None:
    assert worth(tmp_path, plain=0.5, rule=0.5, vcd=0.5) == {"kind": "equal", "firm": True}


def test_harm(tmp_path: Path) -> None:
    assert worth(tmp_path, plain=0.6, rule=0.6, vcd=0.5) == {"kind": "worse", "firm": True}


def test_few_seeds_are_only_suggestive(tmp_path: Path) -> None:
    assert worth(tmp_path, seeds=2, plain=0.5, rule=0.5, vcd=0.65) == {"kind": "contrast", "firm": False}


@pytest.mark.parametrize(
    ("plain", "rule", "kind", "firm"),
    [
        ("better", None, "contrast", True),
        ("better", "better", "contrast", True),
        ("better", "suggestive: better", "contrast", False),
        ("suggestive: better", "better", "contrast", False),
        ("better", "equivalent", "rule", True),
        ("better", "worse", "rule", True),
        ("better", "no difference shown", "unsettled", True),
        ("no difference shown", "better", "open", True),
        ("no difference shown", "no difference shown", "open", True),
        ("equivalent", "better", "equal", True),
        ("suggestive: worse", "equivalent", "worse", False),
    ],
)
def test_two_verdicts_read_together(plain: str, rule: str | None, kind: str, firm: bool) -> None:
    against_rule = None if rule is None else DifferenceSummary.model_construct(verdict=rule, b=RULE)
    found = conclude("vcd", DifferenceSummary.model_construct(verdict=plain, b="plain"), against_rule)
    assert (found.kind, found.firm) == (kind, firm)
    assert "vcd" in found.text


def test_pairs_baselines_and_correction(tmp_path: Path) -> None:
    skills = {"plain": 0.5, RULE: 0.5, "vcd": 0.6, "ritual": 0.5, "code": 0.5, "code,contrast=0": 0.5}
    summary = write_decoded(tmp_path, skills, "vcd", "ritual", "code", seeds=5).plain()
    assert [(arm["name"], arm["role"]) for arm in summary["arms"]] == [
        ("plain", "plain"),
        (RULE, "rule"),
        ("code,contrast=0", "rule"),
        ("vcd", "method"),
        ("ritual", "method"),
        ("code", "method"),
    ]
    main = [(d["a"], d["b"]) for d in summary["differences"] if d["family"] == "main"]
    assert main == [
        *((arm, "plain") for arm in ("vcd", "ritual", "code")),
        ("vcd", RULE),
        ("ritual", RULE),
        ("code", "code,contrast=0"),
    ]
    assert "over 6 tests" in summary["multiplicity"]
    assert {d["subset"] for d in summary["differences"] if d["family"] == "by subset"} == {
        "colour",
        "existence",
    }
    assert summary["winner"]["name"] == "vcd"
    assert "VisualContrastive(alpha=1.0" in summary["winner"]["python"]
    written = {arm["name"]: arm["python"] for arm in summary["arms"]}
    assert written["plain"] == "Plain(beta=0.0).on(inputs)"
    assert written["ritual"] == "Ritual(alpha=3.0, beta=0.1, seed=0).on(inputs, transformed=…)"
    assert written["code,contrast=0"].startswith("plausibility_only(DescriptionContrastive(")
    assert written["code,contrast=0"].endswith(").on(inputs, description=…)")


def test_cost_is_told_in_times_of_plain_decoding(tmp_path: Path) -> None:
    arms = write_decoded(tmp_path, {"plain": 0.5, RULE: 0.5, "vcd": 0.5}, "vcd").plain()["arms"]
    found = {arm["name"]: arm["cost"] for arm in arms}
    assert [found[name]["relative_passes"] for name in ("plain", RULE, "vcd")] == [1.0, 1.0, 2.0]
    assert found["vcd"]["relative_seconds"] == pytest.approx(2.0)
    assert found["plain"]["prompts"] == 5 * 600


def test_a_rule_is_recommended_where_it_explains_the_gain(tmp_path: Path) -> None:
    summary = write_decoded(tmp_path, {"plain": 0.5, RULE: 0.65, "vcd": 0.65}, "vcd").plain()
    assert summary["winner"]["name"] in {RULE}
    assert summary["winner"]["python"].startswith("model.generate(**inputs, custom_generate=Plain(beta=0.1)")
