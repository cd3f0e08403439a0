"""RADIO: PHI-S keeps teachers of small features from being lost, and all teachers at all sizes keep one student."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from counterpoint.files import writing_folder
from counterpoint.models import ModelManifest
from counterpoint.networks.heads import Linear
from counterpoint.training.start import load

from .lab import (
    Lab,
    Result,
    Score,
    ThresholdOrigin,
    TrainedScores,
    TrainingComparison,
    above,
    below,
    decides,
    effects,
    secondary,
)

CLAIM = (
    "A student of two teachers predicts the patches of the one whose features are ten times smaller with less error "
    "after PHI-S than on raw features. Its error to a teacher jumps between sizes of pictures if each teacher teaches "
    "at a size of its own, and does not if all teach at all sizes."
)
REFUTED = (
    "PHI-S does not help the teacher of small features, or teaching at all sizes does not remove the jump"
)
FLAT = ThresholdOrigin(
    kind="convention",
    text="0.05 of the teacher's variance, five times the convention for shares; before the run",
)

RAW, OWN, RADIO = "raw features", "a size for each teacher", "PHI-S, all sizes"
SCALE, STEPS, SIZES = 0.1, 400, (32, 48, 64)
TEACHING = f"teaching,sides={'+'.join(map(str, SIZES))}"
TEACHERS = TrainingComparison(
    {"segment": "segment,image=vit,columns=image+map", "clip": "clip,image=vit,columns=image+text"},
    {"probe": ("logistic_colour_top1",)},
    data="scenes:basic,train=4000,validation=100,test=1000,maps=classes",
    recipe="cpu-dense",
    changes={"steps": 300, "validate_every": 300},
)


def taught(large: Path, small: Path) -> TrainingComparison:
    """Return the comparison of students of two teachers, whose folders are those of the run's seed."""
    arm = f'radio,image=vit,teacher="{large}+{small}"'
    return replace(
        TEACHERS,
        arms={RAW: f"{arm},targets=raw", OWN: f"{arm},each=own", RADIO: arm},
        tasks={TEACHING: ("distance", "error")},
        changes={"steps": STEPS, "validate_every": STEPS},
    )


COMPARISON = taught(Path("runs/segment/seed-{seed}"), Path("runs/small/seed-{seed}"))


def shrink(run: Path, folder: Path) -> None:
    """Write the model of a run of clip whose features of pictures are `SCALE` times as large."""
    if folder.exists():
        return
    model = load(run)
    head = model.projections["image"]
    assert isinstance(head, Linear)
    head.weight.data.mul_(SCALE)
    with writing_folder(folder) as part:
        ModelManifest.of(model).write(model, part)


def run(lab: Lab) -> Iterator[Result]:
    teachers = lab.study(TEACHERS, "teachers")
    for seed in lab.seeds(TEACHERS.seeds):
        shrink(teachers.folder("clip", seed), lab.folder / "small" / f"seed-{seed}")
    study = lab.study(taught(teachers.each("segment"), lab.folder / "small" / "seed-{seed}"))

    def errors(teacher: int, side: int, kind: str = "error_patches") -> TrainedScores:
        return study.scores(f"{TEACHING} {kind}_{teacher}_{side}")

    def rise(arm: str) -> Score:
        """Return by how much the error is larger at the size of the other teacher, the mean over both."""
        first = errors(1, SIZES[-1])[arm] - errors(1, SIZES[0])[arm]
        second = errors(2, SIZES[0])[arm] - errors(2, SIZES[-1])[arm]
        return (first + second) / 2

    small, large = errors(2, SIZES[-1]), errors(1, SIZES[-1])
    distance = errors(2, SIZES[-1], "distance_patches")
    rises = "rise of the error between a teacher's own size and the other's"
    yield from decides(
        above(
            small[RAW] - small[RADIO],
            name="1: error to the teacher of small features, raw − PHI-S",
            **effects.convention("share"),
        ),
        above(
            rise(OWN) - rise(RADIO),
            name=f"2: {rises}, a size for each − all sizes",
            **effects.convention("share"),
        ),
        below(rise(RADIO), name=f"2: {rises}, all sizes", margin=0.05, source=FLAT),
    )
    yield from secondary(
        above(large[RAW] - large[RADIO], name="1: error to the other teacher, raw − PHI-S"),
        above(
            distance[RAW] - distance[RADIO],
            name="1: 1 − cosine to the teacher of small features, raw − PHI-S",
        ),
        above(rise(OWN), name=f"2: {rises}, a size for each"),
    )
    first, middle, last = SIZES
    lab.note(
        f"The registered method on {TEACHERS.data} under the recipe cpu-dense, {STEPS} steps. The",
        f"first teacher is a run of segment; the second a run of clip, its head of pictures scaled by {SCALE:g};",
        f"one of each for each seed. With a size for each, the first teaches at {first} px alone and the second at",
        f"{last} px; no student was trained at {middle} px. Errors are in units of the teacher's variance. Of the",
        *(f"first teacher at {side} px: {errors(1, side).means()};" for side in SIZES),
        "of the second",
        *(f"at {side} px: {errors(2, side).means()};" for side in SIZES[:-1]),
        f"at {last} px: {small.means()}.",
    )
