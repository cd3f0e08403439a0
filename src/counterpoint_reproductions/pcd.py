"""PCD: a head of vectors as one of patches, and patches distilled instead of pooled vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from counterpoint.data import load
from counterpoint.data.pictured import PairedData
from counterpoint.methods.byol import BYOL
from counterpoint.networks.spatial_head import SpatialHead
from counterpoint.training.start import load as load_run

from .lab import (
    Lab,
    Result,
    TrainedStudy,
    TrainingComparison,
    above,
    below,
    decides,
    effects,
    exact,
    secondary,
)

CLAIM = (
    "The head of a trained teacher can act on patches so that the mean over patches is the head of the mean, and a "
    "student that learns the teacher's patches segments pictures better than one that learns its pooled vectors by the "
    "same loss."
)
REFUTED = "the mean differs by more than 1e-5, or the student of pooled vectors segments as well"
GAIN = effects.convention("share", reason="the paper reports average precision of detectors")

PATCHES, POOLED = "patches", "pooled vectors"
TAUGHT, STEPS, BATCH, SIZE, HIDDEN, STUDENT = 500, 500, 32, 48, 256, 32
TASKS = {"segmentation_probe": ("miou", "miou_band"), "multi_label": ("logistic_*_mAP",)}
SETTINGS = {
    "batch_size": BATCH,
    "optimizer.lr": 0.001,
    "towers.image_size": SIZE,
    "widths.ssl_hidden": HIDDEN,
}
DATA = "scenes:tiny,tinted=0,objects=6-9,sizes=medium,relations=0,train=4000,validation=200,test=1000"
TEACHERS = TrainingComparison(
    {"BYOL": "byol"},
    TASKS,
    data=DATA,
    recipe="cpu-dense",
    changes={**SETTINGS, "steps": TAUGHT, "validate_every": TAUGHT},
)


def taught(teacher: Path) -> dict[str, str]:
    """Return the arms, taught by the run of the same seed."""
    pcd = f'pcd,teacher="{teacher}"'
    return {PATCHES: pcd, POOLED: f"{pcd},pooled=true"}


COMPARISON = replace(
    TEACHERS,
    arms=taught(Path("runs/teachers/seed-{seed}")),
    changes={**SETTINGS, "steps": STEPS, "validate_every": STEPS, "towers.image_width": STUDENT},
)


@torch.no_grad()
def differences(study: TrainedStudy, seed: int) -> tuple[float, float]:
    """Return how far the mean over patches is from the head of the mean: of the spatial head, and of plain ReLUs."""
    teacher, data = load_run(study.folder("BYOL", seed)), load(DATA)
    assert isinstance(teacher, BYOL)
    assert isinstance(data, PairedData)
    pictures = data.images(next(iter(data.splits.test.values()))[:100])
    maps = teacher.patch_features(pictures).permute(0, 2, 3, 1)
    head = teacher.projection.eval()
    expected = head(maps.mean((1, 2)))
    plain = head(maps.flatten(0, 2)).view(*maps.shape[:3], -1).mean((1, 2))
    spatial = SpatialHead(head)(maps).mean((1, 2))
    return float((spatial - expected).abs().max()), float((plain - expected).abs().max())


def run(lab: Lab) -> Iterator[Result]:
    teachers = lab.study(TEACHERS, "teachers")
    study = lab.study(replace(COMPARISON, arms=taught(teachers.each("BYOL"))))
    miou, band = (study.scores(f"segmentation_probe {name}") for name in ("miou", "miou_band"))
    things = study.scores("multi_label logistic_concepts_mAP")
    off = [differences(teachers, seed) for seed in lab.seeds(TEACHERS.seeds)]
    yield from decides(
        below(
            exact(max(error for error, _ in off), "largest difference"),
            1e-5,
            name="1: mean over patches against the head of the mean, float32",
        ),
        above(
            exact(min(plain for _, plain in off), "largest difference"),
            0.1,
            name="1: the same with a plain ReLU",
        ),
        above(miou[PATCHES] - miou[POOLED], name="2: mIoU, patches − pooled vectors", **GAIN),
    )
    yield from secondary(
        above(
            band[PATCHES] - band[POOLED],
            name="2: mIoU within three pixels of a border, patches − pooled vectors",
        ),
        above(
            things[PATCHES] - things[POOLED],
            name="2: mAP of the things in a picture, patches − pooled vectors",
        ),
    )
    lab.note(
        f"Teachers are BYOL runs of {TAUGHT} steps on {DATA} at {SIZE} px under the recipe",
        f"cpu-dense, one for each seed; students are of half the width and learn for {STEPS} steps of {BATCH}",
        "pictures.",
        "Differences are the largest over 100 test pictures, all channels and all teachers. mIoU of the segmentation",
        f"probe: {miou.means()}, teachers {teachers.scores('segmentation_probe miou').means()}; near borders:",
        f"{band.means()}; mAP of the things: {things.means()}.",
    )
