"""Step-on-feet tuning: three rounds of self-alignment teach more than one round of as many replies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, above, arm, below, decides, effects, secondary
from .lab.reader import BRIDGE, EPISODES, FILE, gain_of_examples, trained_reader

CLAIM = (
    "A language model that replies better behind eight examples than without, by 10 points or more, gives more right "
    "replies without examples after three rounds of training on its own replies to new requests than after one round "
    "of as many replies and steps."
)
REFUTED = "one round does as well, or the examples gain less than 10 points"
SHARE = effects.convention("share", reason="the paper's figures were not checked")
TESTABLE = effects.level("10 points, below which the card calls the claim not testable", "convention")

ONE, FIXED, ORDERED, THREE = "one round", "one context", "easy first", "three rounds"
SHOWN, POOL = 8, 64
DATA, FEW = f"{FILE}:CODES", f"{FILE}:FEW_CODES"


def begun(readers: Path) -> dict[str, str]:
    """Return the arms, which go on from the reader of their seed."""
    soft = f'step-on-feet,columns=image+talk,from="{readers}",{BRIDGE},shown={SHOWN},pool={POOL},length=4'
    return {
        ONE: f"{soft},rounds=1",
        FIXED: f"{soft},fixed=true",
        ORDERED: f"{soft},easy=true",
        THREE: soft,
    }


COMPARISON = replace(
    EPISODES,
    arms=begun(Path("runs/reader/seed-{seed}")),
    tasks={"answers,kinds=code": ("accuracy",)},
    data=DATA,
    changes={**EPISODES.changes, "steps": 90, "validate_every": 90, "batch_size": 32, "optimizer.lr": 1e-3},
)


def run(lab: Lab) -> Iterator[Result]:
    data = lab.world(DATA, FEW)
    readers = trained_reader(lab)
    gains = {
        seed: gain_of_examples(readers.folder("reader", seed), data, SHOWN, POOL)
        for seed in lab.seeds(COMPARISON.seeds)
    }
    gained = arm(f"{SHOWN} examples − none", gains, "accuracy")
    lab.note(f"Before the first step, {SHOWN} examples gain {gained.measure().estimate:.3f} of accuracy.")
    study = lab.study(replace(COMPARISON, arms=begun(readers.each("reader")), data=data))
    right = study.scores("answers,kinds=code accuracy")
    yield from decides(
        above(gained, 0.1, name="1: accuracy before the first step, 8 examples − none", **TESTABLE),
        above(right[THREE] - right[ONE], name="2: accuracy without examples, three rounds − one", **SHARE),
    )
    yield from secondary(
        below(right[FIXED] - right[THREE], name="accuracy, one context for all − three rounds"),
        above(right[ORDERED] - right[THREE], name="accuracy, easy rows first − three rounds"),
    )
    lab.note(
        "The registered method under the recipe speak, from a run of sft a seed on strings that come again and then on",
        "conversations of ten exchanges in which things or their kinds have codes. The things that test rows ask for",
        "are in no training row of the arms.",
        f"Accuracy without examples: {right.means()}.",
    )
