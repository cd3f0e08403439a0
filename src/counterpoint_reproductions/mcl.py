"""MCL: encoders that must leave aside what the earlier ones tell apart find what a background hides."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import UNSEEN, Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Where a background is easy to tell and a small thing before it is not, three stages of which each contrasts "
    "within the clusters of those before tell the thing better than three encoders of seeds of their own, side by side."
)
REFUTED = "as many independent encoders tell the thing as well"
SHARE = effects.convention("share")

STEPS, BATCH = 150, 64
"""Steps of a stage."""
PLACES = ("meadow", "beach", "snow", "sunset", "brick", "dotted", "striped", "black")
THINGS = ("cat", "dog", "pig", "fish", "apple", "banana", "car", "bus", "key", "guitar", "hat", "tree")
STAGES, ENSEMBLE, ONE = "MCL", "independent encoders", "one encoder"
COMPARISON = TrainingComparison(
    {
        ENSEMBLE: "mcl,on=images,clusters=1",
        ONE: "ntxent,on=images",
        STAGES: "mcl,on=images",
    },
    {"probe": ("logistic_*_top1",)},
    data=(
        f"scenes:basic,objects=1,repeats=0,tinted=0,relations=0,sizes=medium,concepts={'+'.join(THINGS)},"
        f"backgrounds={'+'.join(PLACES)},train=13000,validation=200,test=1000"
    ),
    recipe="cpu",
    changes={"batch_size": BATCH, "steps": 3 * STEPS, "validate_every": 3 * STEPS},
    seeds=UNSEEN,
)
"""With one cluster a stage is a run of the base by itself."""


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    hidden, easy = (study.scores(f"probe logistic_{label}_top1") for label in ("concept", "background"))
    yield from decides(
        above(hidden[STAGES] - hidden[ENSEMBLE], name="the thing, MCL − independent encoders", **SHARE),
    )
    yield from secondary(
        above(hidden[STAGES] - hidden[ONE], name="the thing, MCL − one encoder of all steps"),
        above(easy[STAGES] - easy[ENSEMBLE], name="the background, MCL − independent encoders"),
    )
    lab.note(
        f"The registered method on scenes of one thing of {len(THINGS)} before one of {len(PLACES)} backgrounds, under",
        f"the recipe cpu: three stages of {STEPS} steps of {BATCH} pictures, and ten clusters. Logistic",
        f"regressions tell the thing: {hidden.means()}; the background: {easy.means()}.",
    )
