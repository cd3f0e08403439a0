"""Differences in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from counterpoint.statistics import (
    Difference,
    Outcomes,
    SeedsNeeded,
    Verdict,
    compare_arms,
    sentence,
)


@pytest.fixture
def difference() -> Difference:
    rng = np.random.default_rng(0)
    found = compare_arms({"R@1": Outcomes({"slip": rng.random((5, 60)), "clip": rng.random((5, 60))})})
    return found.differences[0]


def told(base: Difference, estimate: float, low: float, high: float, **changes: Any) -> str:
    assert base.interval is not None
    interval = replace(
        base.interval, estimate=estimate, low=low, high=high, n_seeds=changes.pop("n_seeds", 5)
    )
    return sentence(replace(base, interval=interval, notes=changes.pop("notes", ()), **changes))


def test_better(difference: Difference) -> None:
    text = told(difference, 0.031, 0.012, 0.050, verdict=Verdict.BETTER)
    assert (
        text
        == "slip beats clip on R@1 by 3.1 points (95 % interval 1.2 to 5.0, 5 seeds); the difference is real."
    )


def test_worse_names_the_winner_first(difference: Difference) -> None:
    text = told(difference, -0.031, -0.050, -0.012, verdict=Verdict.WORSE)
    assert (
        text
        == "clip beats slip on R@1 by 3.1 points (95 % interval 1.2 to 5.0, 5 seeds); the difference is real."
    )


def test_lower_is_better_still_tells_a_positive_advantage(difference: Difference) -> None:
    text = told(difference, -4.0, -6.5, -1.5, verdict=Verdict.BETTER, higher_is_better=False, unit="ranks")
    assert (
        text
        == "slip beats clip on R@1 by 4 ranks (95 % interval 1.5 to 6.5, 5 seeds); the difference is real."
    )


def test_suggestive(difference: Difference) -> None:
    text = told(
        difference,
        0.03,
        0.01,
        0.05,
        verdict=Verdict.SUGGESTIVE_BETTER,
        n_seeds=3,
        notes=("3 seeds, fewer than 5",),
    )
    assert text == (
        "slip seems ahead of clip on R@1 by 3.0 points (95 % interval 1.0 to 5.0, 3 seeds); "
        "only suggestive: 3 seeds, fewer than 5."
    )


def test_not_shown(difference: Difference) -> None:
    needed = SeedsNeeded(9, 0.01, 0.8, 0.002, 1.0)
    text = told(difference, 0.004, -0.010, 0.021, verdict=Verdict.NOT_SHOWN, seeds_needed=needed)
    assert text == (
        "No difference shown between slip and clip on R@1: "
        "the 95 % interval of slip − clip is −1.0 to 2.1 points (5 seeds) and includes zero; "
        "about 9 seeds would show a difference of 1 point."
    )


def test_more_seeds_cannot_show_it(difference: Difference) -> None:
    needed = SeedsNeeded(None, 0.01, 0.8, 0.02, 4.0)
    text = told(difference, 0.004, -0.010, 0.021, verdict=Verdict.NOT_SHOWN, seeds_needed=needed)
    assert text.endswith(
        "; to show a difference of 1 point you need a test set at least 4.0 times as large, and more seeds."
    )


def test_withheld_after_correction(difference: Difference) -> None:
    notes = ("it excludes zero, but",)
    text = told(difference, 0.02, 0.001, 0.039, verdict=Verdict.NOT_SHOWN, notes=notes)
    assert "includes zero" not in text
    assert text.startswith("No difference is claimed between slip and clip")
    assert text.endswith("(5 seeds); it excludes zero, but.")


def test_equivalent(difference: Difference) -> None:
    text = told(difference, 0.001, -0.004, 0.006, verdict=Verdict.EQUIVALENT, margin=0.01)
    assert text == (
        "slip and clip are equivalent on R@1 within ±1 point: "
        "the 95 % interval is −0.4 to 0.6 points, 5 seeds."
    )
