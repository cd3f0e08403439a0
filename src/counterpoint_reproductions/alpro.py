"""ALPRO: naming what a prompter sees in a crop teaches fused patches what they show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Fused patches that must name what a prompter sees in a random crop say which thing is where: pixels that take the "
    "name of their patch have an intersection over union with the things that is higher by 0.05 than after training "
    "with the prompter's labels of other pictures."
)
REFUTED = "labels of other pictures do as well"
DELTA = effects.convention("share", of=5)

NAMING, PERMUTED, TEXT_FREE = "ALPRO", "permuted labels", "named without text"
STEPS, PRETRAINED = 300, 400
DATA = (
    "scenes:basic,objects=2-3,concepts=cat+fish+apple+banana+car+key+hat+tree,repeats=0,tinted=0,sizes=medium,"
    "relations=0,train=4000,validation=64,test=1000,pixels=64"
)
PROMPTERS = TrainingComparison(
    {"CLIP": "clip"},
    {"retrieval": ("i2t_R@1",)},
    data=DATA,
    recipe="cpu-dense",
    changes={"steps": PRETRAINED, "validate_every": PRETRAINED, "augmentation.paired": "plain"},
)
"""The prompters, one for each seed, whose tower of pictures all arms begin from."""


def started(prompters: Path) -> dict[str, str]:
    """Return the arms, each with the prompter of its seed."""
    alpro = f'alpro,hidden=0.25,prompter="{prompters}",image="cnn@{prompters}"'
    return {PERMUTED: f"{alpro},permuted=true", TEXT_FREE: f"{alpro},text_free=true", NAMING: alpro}


COMPARISON = replace(
    PROMPTERS,
    arms=started(Path("runs/prompters/seed-{seed}")),
    tasks={"segmentation": ("iou", "miou"), "retrieval": ("i2t_R@1",)},
    labels="concepts",
    changes={**PROMPTERS.changes, "steps": STEPS, "validate_every": STEPS},
)


def run(lab: Lab) -> Iterator[Result]:
    prompters = lab.study(PROMPTERS, "prompters")
    study = lab.study(replace(COMPARISON, arms=started(prompters.each("CLIP"))))
    iou, retrieved = study.scores("segmentation iou"), study.scores("retrieval i2t_R@1")
    yield from decides(
        above(iou[NAMING] - iou[PERMUTED], name="1: IoU of own maps, ALPRO − permuted labels", **DELTA)
    )
    yield from secondary(
        above(iou[TEXT_FREE] - iou[NAMING], name="2: IoU of own maps, named without text − with text"),
        above(retrieved[NAMING] - retrieved[PERMUTED], name="2: R@1 of captions, ALPRO − permuted labels"),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe cpu-dense: prompters by {PRETRAINED} steps of CLIP, one a",
        f"seed, then {STEPS} steps with a quarter of the words hidden. Entities are the names of the things. A pixel",
        f"takes the likeliest name of its patch beside an empty text. IoU: {iou.means()}; R@1: {retrieved.means()}.",
    )
