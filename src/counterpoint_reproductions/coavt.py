"""CoAVT: terms of two columns help where one of three is withheld."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Where one of two columns is withheld, the other finds texts better after training with terms of each column with "
    "the text beside the term of both columns together, at equal steps."
)
REFUTED = "the term of both columns alone is as good"

TOGETHER, ALL, MEAN = "both columns alone", "all three terms", "means"
STEPS = 300
DATA = "scenes:tiny,train=4000,validation=64,test=1000,maps=classes"
COMPARISON = TrainingComparison(
    {
        TOGETHER: "coavt,width=64,separate=0",
        MEAN: "coavt,width=64,pooling=mean",
        ALL: "coavt,width=64",
    },
    {"retrieval": ("i2t_R@1", "m2t_R@1")},
    data=DATA,
    recipe="cpu",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "batch_size": 32,
        "optimizer.lr": 1e-3,
        "augmentation.paired": "plain",
    },
)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    picture, regions, joint = (study.scores(f"retrieval {way}2t_R@1") for way in ("i", "m", "im"))
    yield from decides(
        above(
            picture[ALL] - picture[TOGETHER],
            name="1: R@1 of captions by pictures without maps, all three terms − both columns alone",
            **effects.convention("share"),
        ),
    )
    yield from secondary(
        above(
            regions[ALL] - regions[TOGETHER],
            name="1: R@1 of captions by maps without pictures, all three terms − both columns alone",
        ),
        above(joint[ALL] - joint[TOGETHER], name="1: R@1 by both, all three terms − both columns alone"),
        above(joint[ALL] - joint[MEAN], name="2: R@1 by both, queries − means"),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe cpu, {STEPS} steps of 32 with a learning rate of 0.001,",
        "from random weights. The two columns are pictures and maps of the classes of their pixels. A map shows which",
        "things are where, and a picture their colours too. Without terms of each column the queries read it alone.",
        f"R@1 of captions by pictures: {picture.means()}; by maps: {regions.means()}; by both: {joint.means()}.",
    )
