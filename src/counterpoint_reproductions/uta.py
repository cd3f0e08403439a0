"""Unmasked Token Alignment: visible patches that learn from a frozen CLIP name pictures, without mask tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, ThresholdOrigin, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "At equal passes a student that aligns half of a picture's patches with a frozen CLIP names pictures better than "
    "one that predicts hidden patches from mask tokens, and at most 2 points worse than one that sees all patches."
)
REFUTED = "mask tokens name pictures as well, or the student of all patches is better by more than 2 points"
NO_WORSE = ThresholdOrigin(
    kind="convention", text="0.02 of accuracy, twice the convention for shares; chosen before the run"
)

HALF, MASKED, ALL = "half visible", "mask tokens", "all visible"
STEPS = 300
DATA = "scenes:basic,train=4000,validation=100,test=1000"
TEACHERS = TrainingComparison(
    {"CLIP": "clip,image=vit"},
    {"zero_shot": ("concept_top1",)},
    data=DATA,
    recipe="cpu-dense",
    changes={"steps": 500, "validate_every": 500},
)


def taught(teacher: Path) -> dict[str, str]:
    """Return the arms, taught by the run of the same seed."""
    uta = f'uta,teacher="{teacher}"'
    return {MASKED: f"{uta},predict=masked", HALF: uta, ALL: f"{uta},hidden=0"}


COMPARISON = replace(
    TEACHERS,
    arms=taught(Path("runs/teachers/seed-{seed}")),
    changes={"steps": STEPS, "validate_every": STEPS},
    # A step costs 1.5 passes, against 2 of the other arms.
    steps={HALF: 4 * STEPS // 3},
    budget="passes",
)


def run(lab: Lab) -> Iterator[Result]:
    teachers = lab.study(TEACHERS, "teachers")
    study = lab.study(replace(COMPARISON, arms=taught(teachers.each("CLIP"))))
    scores = study.scores("zero_shot concept_top1")
    yield from decides(
        above(
            scores[HALF] - scores[MASKED],
            name="1: zero-shot accuracy, half visible − mask tokens",
            **effects.convention("share"),
        ),
        above(
            scores[HALF] - scores[ALL],
            name="2: zero-shot accuracy, half visible − all visible",
            margin=0.02,
            source=NO_WORSE,
        ),
    )
    yield from secondary(
        above(
            study.scores("zero_shot group_top1")[HALF] - study.scores("zero_shot group_top1")[MASKED],
            name="1: zero-shot accuracy of the group, half visible − mask tokens",
        ),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe cpu-dense: students of {STEPS} steps with mask tokens and",
        f"with all patches, and of {4 * STEPS // 3} steps with half of them, which are as many passes. Teachers are",
        "CLIP runs of the same pictures and their captions, one a seed. Zero-shot accuracy by the teacher's text",
        f"tower: {scores.means()}; the teachers': {teachers.scores('zero_shot concept_top1').means()}.",
    )
