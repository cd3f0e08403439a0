"""SepCLR: does the joint entropy term take out of the common code what is salient?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .lab import UNSEEN, Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Of scenes of which half carry a small mark, the common code tells the marks apart less well with the joint "
    "entropy term than without it, by 10 points at least, and things as well; the salient code tells the marks."
)
REFUTED = "the joint entropy term lowers the accuracy of marks from the common code by less than 10 points"
TEN_POINTS = effects.level("ten points, of the 75 between all and chance; chosen here", "convention")

STEPS, BATCH = 300, 128
WITHOUT, SEPCLR = "without joint entropy", "SepCLR"
COMPARISON = TrainingComparison(
    {WITHOUT: "sepclr,joint=0", SEPCLR: "sepclr"},
    {"probe": ("logistic_*_top1*",)},
    data="scenes:marked,backgrounds=white,tinted=0,train=4000,validation=64,test=1000",
    labels="marked",
    recipe="cpu",
    # Crops of 60 % of the area and more keep most marks.
    changes={
        "batch_size": BATCH,
        "steps": STEPS,
        "validate_every": STEPS,
        "augmentation.contrasted": "convirt",
    },
    seeds=UNSEEN,
)


PROBE = "probe,labels=mark/concept"
"""Marks are asked about where they are named alone."""


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(replace(COMPARISON, tasks={PROBE: COMPARISON.tasks["probe"]}))
    mark, thing = (
        {head: study.scores(f"{PROBE} logistic_{label}_top1{head}") for head in ("", "[salient]")}
        for label in ("mark", "concept")
    )
    yield from decides(
        above(
            mark[""][WITHOUT] - mark[""][SEPCLR],
            0.1,
            name="mark from the common code, without − with the term",
            **TEN_POINTS,
        )
    )
    yield from secondary(
        above(
            thing[""][SEPCLR] - thing[""][WITHOUT],
            -0.05,
            name="thing from the common code, with − without",
        ),
        above(
            mark["[salient]"][SEPCLR] - mark[""][SEPCLR], name="mark, from the salient − from the common code"
        ),
        above(
            thing[""][SEPCLR] - thing["[salient]"][SEPCLR],
            name="thing, from the common − from the salient code",
        ),
    )
    lab.note(
        f"Scenes of one thing of 24 in white, half of them with a mark of four beside it; {STEPS} steps of {BATCH}.",
        "Accuracy of probes on the codes, the 32 numbers that a linear layer gives of each tower's features; of marks",
        "in those scenes that have one, where chance is 0.25. From the common code: marks",
        f"{mark[''].means()}, things {thing[''].means()}; from the salient code: marks {mark['[salient]'].means()},",
        f"things {thing['[salient]'].means()}.",
    )
