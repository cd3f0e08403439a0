"""SECLA: names find boxes and boxes find names, which tells better which name is which box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Without a label that says which name is which box, boxes are named better after training in both directions, with "
    "their agreement, than after training from names to boxes alone."
)
REFUTED = "one direction is as good"

BOTH, ONE, FREE, MEAN = "both directions", "names to boxes", "no agreement", "means"
STEPS = 250
DATA = "scenes:tiny,train=4000,validation=64,test=1000,boxes=true"
SETTINGS = {"batch_size": 64, "augmentation.paired": "plain"}
TOWERS = TrainingComparison(
    {"CLIP": "clip,columns=image+text"},
    {"regions": ("named",)},
    data=DATA,
    labels="concepts",
    recipe="cpu",
    changes={**SETTINGS, "steps": 400, "validate_every": 400},
)
"""The towers of pictures that all arms begin from, one for each seed."""


def of(towers: Path) -> dict[str, str]:
    """Return the arms, whose tower of pictures is that of the run of the same seed."""
    image = f'image="cnn@{towers}"'
    return {
        ONE: f"secla,directions=names,{image}",
        MEAN: f"secla,pooling=mean,{image}",
        FREE: f"secla,agreement=0,{image}",
        BOTH: f"secla,{image}",
    }


COMPARISON = replace(
    TOWERS,
    arms=of(Path("runs/towers/seed-{seed}")),
    changes={**SETTINGS, "steps": STEPS, "validate_every": STEPS},
)


def run(lab: Lab) -> Iterator[Result]:
    towers = lab.study(TOWERS, "towers")
    study = lab.study(replace(COMPARISON, arms=of(towers.each("CLIP"))))
    two = {name: arm for name, arm in study.arms.items() if name in (ONE, BOTH)}
    noisy = lab.study(replace(COMPARISON, arms=two, labels="nouns"), "nouns")
    named, unmatched = (it.scores("regions named") for it in (study, noisy))
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
            named[FREE] - named[ONE], name="1: accuracy, both directions without agreement − names to boxes"
        ),
        above(
            unmatched[BOTH] - unmatched[ONE],
            name="2: accuracy where most names have no box, both directions − names to boxes",
        ),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe cpu, {STEPS} steps of 64, from the tower of pictures of a",
        "CLIP run of 400 steps with the same seed. Names are those of the things in a picture, without their boxes.",
        f"The task asks which of all names in the test set a box has: {named.means()}; by the CLIP runs:",
        f"{towers.scores('regions named').means()}. Where names are all nouns of the caption by WordNet, most of them",
        f"name no box, as colours, sizes and numbers do: {unmatched.means()}.",
    )
