"""MLCD: several clusters a picture are better than one, and two log-sum-exps better than a joint one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Where pictures show several things, features that learn the eight nearest clusters of each tell which things are "
    "there better than features that learn the nearest alone, and separated log-sum-exps do better than a joint one."
)
REFUTED = "the nearest cluster alone is as good, or the joint form is"
EIGHT_CLUSTERS = effects.reported(
    71.4, 75.2, "ViT-B/32, 5 epochs, ImageNet linear probe, l = 1 against l = 8", unit=0.01
)
SEPARATED = effects.reported(76.9, 78.1, "ViT-B/32, linear probe, joint against separated", unit=0.01)

ONE, FOUR, EIGHT, MLC, MLCD = "l = 1", "l = 4", "l = 8", "MLC", "MLCD, m = 0"
STEPS, SIZE = 500, 32
DATA = "scenes:basic,train=10000,validation=500,test=1000"


def of(encoder: str) -> dict[str, str]:
    """Return the arms, on the clusters of an encoder; of the method's own tower where it is empty."""
    mlcd = f"mlcd,clusters=100,share=0.5{encoder}"
    return {
        EIGHT: f"{mlcd},positives=8",
        FOUR: f"{mlcd},positives=4",
        MLC: f"{mlcd},positives=8,joint=true",
        MLCD: f"{mlcd},positives=8,shift=0",
        ONE: f"{mlcd},positives=1",
    }


COMPARISON = TrainingComparison(
    of(""),
    {"multi_label": ("logistic_*_mAP",)},
    data=DATA,
    recipe="cpu",
    changes={"steps": STEPS, "validate_every": STEPS, "towers.image_size": SIZE},
)
"""As a preset it clusters what the tower says as it begins; the claim's own runs cluster a trained encoder."""
PRETRAINING = TrainingComparison(
    {"MoCo": "moco"},
    COMPARISON.tasks,
    data=DATA,
    recipe="cpu",
    changes=COMPARISON.changes,
    seeds=(0,),
)


def run(lab: Lab) -> Iterator[Result]:
    pretrained = lab.study(PRETRAINING, "pretraining")
    study = lab.study(replace(COMPARISON, arms=of(f",encoder=cnn@{pretrained.folder('MoCo', 0)}")))
    scores = study.scores("multi_label logistic_concepts_mAP")
    yield from decides(
        above(scores[EIGHT] - scores[ONE], name="1: mAP, eight clusters − one", **EIGHT_CLUSTERS),
        above(scores[MLCD] - scores[MLC], name="2: mAP, separated − joint, at m = 0", **SEPARATED),
    )
    yield from secondary(
        above(scores[FOUR] - scores[ONE], name="1: mAP, four clusters − one"),
        above(scores[EIGHT] - scores[MLC], name="2: mAP, separated at m = 0.25 − joint"),
    )
    lab.note(
        f"The registered method on {DATA} at {SIZE} px under the recipe cpu, {STEPS} steps: k = 100, half of the",
        "classes a step, γ = 16. Clusters are of one encoder, trained by MoCo on the same pictures for as many steps.",
        f"mAP of the things that a scene shows, by logistic regressions: {scores.means()}; that encoder's:",
        f"{pretrained.scores('multi_label logistic_concepts_mAP').means()}.",
    )
