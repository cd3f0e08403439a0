"""SECLA: names find boxes and boxes find names, which tells better which name is which box."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Without a label that says which name is which box, boxes are named better after training in both directions, with "
    "their agreement, than after training from names to boxes alone."
)
REFUTED = "one direction is as good"

BOTH, ONE, FREE, MEAN = "both directions", "names to boxes", "no agreement", "means"
STEPS = 400
DATA = "scenes:basic,train=6000,validation=64,test=1000,boxes=true"
COMPARISON = TrainingComparison(
    {
        ONE: "secla,directions=names",
        MEAN: "secla,pooling=mean",
        FREE: "secla,agreement=0",
        BOTH: "secla",
    },
    {"regions": ("named",)},
    data=DATA,
    labels="nouns",
    recipe="cpu",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "batch_size": 64,
        "augmentation.paired": "plain",
    },
)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    named = study.scores("regions named")
    yield from decides(
        above(
            named[BOTH] - named[ONE],
            name="1: accuracy of the names of boxes, both directions − names to boxes",
            **effects.convention("share"),
        ),
    )
    yield from secondary(
        above(named[BOTH] - named[FREE], name="1: accuracy, with agreement − without"),
        above(named[BOTH] - named[MEAN], name="1: accuracy, maxima − means"),
        above(
            named[FREE] - named[ONE], name="1: accuracy without agreement, both directions − names to boxes"
        ),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe cpu, {STEPS} steps of 64, from random weights. Names are",
        "the nouns of captions by WordNet. Most of them name no box, as colours, sizes and numbers do. The task asks",
        f"which of all names in the test set a box has: {named.means()}.",
    )
