"""MultiBERTs: judging a training procedure by one checkpoint claims effects that are not there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from ...catalog.evidence import Result
from ...evaluation import create
from ...losses import InfoNCELoss
from ...statistics import StatisticsWarning, multi_bootstrap
from ...statistics.simulation import REGIMES, coverage, false_positives
from ..benches.emoji import SmallTwoTower, emoji_inputs, train_on_names
from ..lab import Arrays, Lab, measure

CLAIM = (
    "A test that resamples seeds and examples together keeps its false-positive rate; the usual test on one "
    "checkpoint does not, and its interval is too narrow on real runs too."
)
REFUTED = (
    "the single-checkpoint rate stays below 10 %, the Multi-Bootstrap's exceeds 10 %, or the paired interval "
    "is no wider than the one over examples"
)


WORLDS = 300
"""Simulated worlds."""
SEEDS = 8
STEPS = 400
BATCH = 64
TEMPERATURES = (0.07, 0.2)


def simulate(worlds: int, n_boot: int) -> Arrays:
    """Simulate two procedures of equal accuracy, and count how often one is called better (claim A)."""
    found = false_positives(n_worlds=worlds, n_boot=n_boot)
    return {"multi": found.multi_by_world, "single": found.single_by_world}


def two_tower(temperature: float, seed: int, steps: int) -> Arrays:
    """Train one small model, and test whether each held-out picture finds its name (claim B)."""
    data, _, _ = emoji_inputs()
    model = SmallTwoTower(seed)
    train_on_names(model, InfoNCELoss(temperature), batch=BATCH, steps=steps, lr=1e-3, seed=seed)
    scores = create("retrieval")(model, data, data.splits.test["compositions"])
    return {"hits": scores.examples["i2t_R@1"].to_numpy()}


def run(lab: Lab) -> Sequence[Result]:
    worlds = 20 if lab.quick else WORLDS
    simulated = lab.cells(simulate, {"worlds": {"worlds": worlds, "n_boot": 200 if lab.quick else 1000}})[
        "worlds"
    ]
    share = "share of worlds with p < 0.05, one-sided"
    results = [
        measure.rate(
            "A: false positives of the Multi-Bootstrap over 10 seeds",
            share,
            simulated["multi"],
            expected="below",
            bound=0.10,
        ),
        measure.rate(
            "A: false positives of the bootstrap over examples on one seed",
            share,
            simulated["single"],
            expected="above",
            bound=0.10,
        ),
    ]
    seeds, steps = lab.seeds(SEEDS), 20 if lab.quick else STEPS
    trained = lab.cells(
        two_tower,
        {
            f"tau{temperature}-seed{seed}": {"temperature": temperature, "seed": seed, "steps": steps}
            for temperature in TEMPERATURES
            for seed in seeds
        },
    )
    low, high = (
        {seed: trained[f"tau{temperature}-seed{seed}"]["hits"] for seed in seeds}
        for temperature in TEMPERATURES
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StatisticsWarning)  # a smoke run has two seeds, and no verdict
        both, examples = (
            multi_bootstrap(low, high, sample_seeds=sample, n_boot=2000).delta for sample in (True, False)
        )
    metric = "retrieval i2t_R@1 on held-out compositions"
    results += [
        measure.exact(
            "B: width of the paired interval over that of the interval over examples only",
            metric,
            (both.high - both.low) / max(examples.high - examples.low, 1e-9),
            expected="above",
            bound=1.0,
        ).model_copy(update={"n_seeds": len(seeds)}),
    ]
    results += _coverage(lab, 20 if lab.quick else 1000)
    lab.note(
        f"A: {worlds} worlds of 10 seeds × 500 examples; its number of seeds is the number of worlds,",
        "which are independent. B: two-layer networks on 16 × 16 pixels and on hashed words of the",
        f"names, InfoNCE at a fixed temperature, batch {BATCH}, {steps} steps; all seeds share the test",
        f"set of {len(low[seeds[0]])} emoji. R@1 at {TEMPERATURES[0]} − {TEMPERATURES[1]}:",
        f"{both.estimate:.3f} ({both.low:.3f} to {both.high:.3f}). Coverage: equal arms under 5 seeds in",
        "the two regimes where the bootstrap alone does worst and best; 95 % is nominal, and the",
        "interval is the binomial one over simulated worlds.",
    )
    return results


def _coverage(lab: Lab, worlds: int) -> list[Result]:
    found = []
    for regime in ("seeds dominate", "examples dominate"):
        measured = coverage(REGIMES[regime], n_worlds=worlds)
        found.append(
            measure.rate(
                f"coverage of the interval that verdicts here rest on, 5 seeds, {regime}",
                "share of worlds whose interval holds the truth",
                np.arange(worlds) < round(measured.verdict * worlds),
                expected="above",
                bound=0.93,
                decides=False,
            )
        )
        lab.note(f"Where {regime}, the Multi-Bootstrap alone covers {measured.bootstrap:.3f} at 5 seeds.")
    return found
