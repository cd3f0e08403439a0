"""BPKD: a student that learns a teacher's logits near borders segments these better."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Near the borders of things a student segments better after BPKD, which distils the borders by pixel and the rest "
    "by class, than after channel-wise distillation of the whole map from the same teacher, at a temperature of 4."
)
REFUTED = "the student of channel-wise distillation segments borders as well"
BAND = effects.reported(
    76.26, 77.57, "Cityscapes mIoU, PSPNet-R18, channel-wise distillation and BPKD", unit=0.01
)

NONE, PIXEL, CHANNEL, BPKD = "no teacher", "by pixel", "by channel", "BPKD"
COLD, EDGE, STRONG = "BPKD, T = 1", "BPKD, edge alone", "by channel, weight of the body"
STEPS, BATCH, SIZE, STUDENT = 500, 32, 48, 16
TASKS = {"segmentation_probe": ("miou_band", "miou")}
SETTINGS = {"batch_size": BATCH, "towers.image_size": SIZE, "steps": STEPS, "validate_every": STEPS}
TEACHERS = TrainingComparison(
    {"teacher": "segment"},
    TASKS,
    data="scenes:tiny,train=4000,validation=200,test=1000,maps=classes",
    recipe="cpu-dense",
    changes=SETTINGS,
)
"""The teachers, one for each seed."""


def taught(teacher: Path) -> TrainingComparison:
    """Return the comparison of students of the run of the same seed."""
    student = f'segment,teacher="{teacher}",distil='
    arms = {
        NONE: "segment",
        PIXEL: f"{student}pixel",
        CHANNEL: f"{student}channel",
        STRONG: f"{student}channel,weight=20",
        BPKD: f"{student}bpkd",
        EDGE: f"{student}bpkd,body=0",
        COLD: f"{student}bpkd,temperature=1",
    }
    return replace(TEACHERS, arms=arms, changes={**SETTINGS, "towers.image_width": STUDENT})


COMPARISON = taught(Path("runs/teachers/seed-{seed}"))


def run(lab: Lab) -> Iterator[Result]:
    teachers = lab.study(TEACHERS, "teachers")
    study = lab.study(taught(teachers.each("teacher")))
    band, miou = (study.scores(f"segmentation_probe {name}") for name in TASKS["segmentation_probe"])
    near = "mIoU within three pixels of a border"
    yield from decides(above(band[BPKD] - band[CHANNEL], name=f"1: {near}, BPKD − by channel", **BAND))
    yield from secondary(
        above(band[BPKD] - band[STRONG], name=f"1: {near}, BPKD − by channel with the weight of the body"),
        above(band[COLD] - band[CHANNEL], name=f"1: {near}, BPKD at T = 1 − by channel"),
        above(band[BPKD] - band[PIXEL], name=f"1: {near}, BPKD − by pixel"),
        above(band[BPKD] - band[NONE], name=f"1: {near}, BPKD − no teacher"),
        above(miou[BPKD] - miou[CHANNEL], name="1: mIoU, BPKD − by channel"),
        above(band[EDGE] - band[NONE], name=f"2: {near}, the term of edges alone − no teacher"),
    )
    lab.note(
        f"Teachers are runs of segment of {STEPS} steps on scenes of 14 concepts at {SIZE} px under the recipe",
        f"cpu-dense, one for each seed; students have {STUDENT} channels in place of 64 and as many steps of {BATCH}",
        f"pictures. mIoU of the segmentation probe near borders: {band.means()}, teachers",
        f"{teachers.scores('segmentation_probe miou_band').means()}; of all pixels: {miou.means()}.",
    )
