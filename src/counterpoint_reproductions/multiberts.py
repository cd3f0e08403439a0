"""MultiBERTs: judging a training procedure by one checkpoint claims effects that are not there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from counterpoint.statistics import StatisticsWarning, multi_bootstrap
from counterpoint.statistics.simulation import REGIMES, coverage, false_positives

from .lab import (
    Arrays,
    Lab,
    Result,
    ScoreEstimate,
    TrainingComparison,
    above,
    below,
    decides,
    effects,
    rate,
    secondary,
)

CLAIM = (
    "A test that resamples seeds and examples together keeps its false-positive rate; the usual test on one "
    "checkpoint does not."
)
REFUTED = "the single-checkpoint rate stays below 10 %, or the Multi-Bootstrap's exceeds 10 %"
OWN = (
    "Procedures of equal accuracy are simulated in place of trained ones, because a false-positive rate can be counted "
    "only where the truth is known. The intervals of a study of a registered method are reported beside."
)
TWICE_NOMINAL = effects.level("twice the nominal 5 %; chosen here", "convention")


WORLDS = 300
"""Simulated worlds."""
LOW, HIGH = "τ = 0.07", "τ = 0.2"
FOUND = "retrieval i2t_R@1"
COMPARISON = TrainingComparison(
    {LOW: "infonce,temperature=0.07", HIGH: "infonce,temperature=0.2"},
    {"retrieval": ("i2t_R@1",)},
    data="emoji",
    changes={"towers.context": 24, "towers.vocabulary": 2048},
    seeds=8,
)


def simulate(worlds: int, n_boot: int) -> Arrays:
    """Simulate two procedures of equal accuracy, and count how often one is called better (claim A)."""
    rates = false_positives(n_worlds=worlds, n_boot=n_boot)
    return {"multi": rates.multi_by_world, "single": rates.single_by_world}


def covered(regime: str, worlds: int) -> Arrays:
    """Simulate equal arms; mark the worlds whose interval holds the truth, and count those of the bootstrap alone."""
    rates = coverage(REGIMES[regime], n_worlds=worlds)
    return {
        "verdict": np.arange(worlds) < round(rates.verdict * worlds),
        "bootstrap": np.array(rates.bootstrap),
    }


def run(lab: Lab) -> Iterator[Result]:
    simulated = lab.grid(simulate, {}, seeds=None, worlds=WORLDS, n_boot=1000)[()][None]
    share = "share of worlds with p < 0.05, one-sided"
    study = lab.study(COMPARISON)
    hits = study.outcomes(study.key(FOUND, "compositions"))
    low, high = (hits[name] for name in (LOW, HIGH))
    tested = next(len(values) for values in low.values() if values is not None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StatisticsWarning)  # a smoke run has two seeds, and no verdict
        both, examples = (
            multi_bootstrap(low, high, sample_seeds=sample, n_boot=2000).delta for sample in (True, False)
        )
    width = (both.high - both.low) / max(examples.high - examples.low, 1e-9)
    yield from decides(
        below(
            rate(simulated["multi"]),
            0.10,
            name="A: false positives of the Multi-Bootstrap over 10 seeds",
            metric=share,
            **TWICE_NOMINAL,
        ),
        above(
            rate(simulated["single"]),
            0.10,
            name="A: false positives of the bootstrap over examples on one seed",
            metric=share,
            **TWICE_NOMINAL,
        ),
    )
    # An interval over seeds and examples is wider than one over examples wherever seeds differ.
    yield from secondary(
        above(
            ScoreEstimate(width, width, width, len(low)),
            1.0,
            name="B: width of the paired interval over that of the interval over examples only",
            metric=f"{FOUND} on held-out compositions",
        ),
    )
    regimes = lab.grid(covered, {"regime": ("seeds dominate", "examples dominate")}, seeds=None, worlds=1000)
    for (regime,) in regimes:
        measured = regimes[regime][None]
        yield from secondary(
            above(
                rate(measured["verdict"]),
                0.93,
                name=f"coverage of the interval that verdicts here rest on, 5 seeds, {regime}",
                metric="share of worlds whose interval holds the truth",
            )
        )
        lab.note(f"Where {regime}, the Multi-Bootstrap alone covers {measured['bootstrap']:.3f} at 5 seeds.")
    lab.note(
        f"A: {WORLDS} worlds of 10 seeds × 500 examples; its number of seeds is the number of worlds,",
        "which are independent. B: a study of InfoNCE at a fixed temperature, by the recipe of seconds with the",
        "vocabulary of the one of minutes; the first evidence had two-layer networks trained by code of its own. All",
        f"seeds share the test set of {tested} emoji. R@1, {LOW} − {HIGH}:",
        f"{both.estimate:.3f} ({both.low:.3f} to {both.high:.3f}). Coverage: equal arms under 5 seeds in",
        "the two regimes where the bootstrap alone does worst and best; 95 % is nominal, and the",
        "interval is the binomial one over simulated worlds.",
    )
