"""dBOT: after a second stage of masked distillation it matters less who the first teacher was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Between masked autoencoders of a random teacher's features and of a supervised teacher's, the gap in a linear "
    "probe is smaller after a second stage, whose teacher is the student of the first, than after the first stage."
)
REFUTED = "the gap between the two grows, or stays as it is"

RANDOM, SUPERVISED = "random teacher", "supervised teacher"
LONG = "random teacher, one stage as long as two"
STEPS = 200
TEACHERS = TrainingComparison(
    {"cross-entropy": "cross-entropy,image=vit,labels=colour"},
    {"probe": ("logistic_colour_top1",)},
    data="scenes:basic,train=4000,validation=100,test=1000",
    recipe="cpu-dense",
    changes={"steps": 400, "validate_every": 400},
)


def taught(teacher: Path, stages: int) -> dict[str, str]:
    """Return the arms, of which one is taught by the run of the same seed."""
    return {RANDOM: f"dbot,stages={stages}", SUPERVISED: f'dbot,stages={stages},teacher="{teacher}"'}


_FOLDER = Path("runs/teachers/seed-{seed}")
COMPARISON = replace(
    TEACHERS,
    arms={**taught(_FOLDER, 2), LONG: "dbot,stages=1"},
    changes={"steps": 2 * STEPS, "validate_every": 2 * STEPS},
)
FIRST_STAGE = replace(TEACHERS, arms=taught(_FOLDER, 1), changes={"steps": STEPS, "validate_every": STEPS})


def run(lab: Lab) -> Iterator[Result]:
    teachers = lab.study(TEACHERS, "teachers")
    folder = teachers.each("cross-entropy")
    one = lab.study(replace(FIRST_STAGE, arms=taught(folder, 1)), "one stage")
    two = lab.study(replace(COMPARISON, arms={**COMPARISON.arms, **taught(folder, 2)}), "two stages")
    metric = "probe logistic_colour_top1"
    first, second = one.scores(metric), two.scores(metric)
    gaps = [scores[SUPERVISED] - scores[RANDOM] for scores in (first, second)]
    yield from decides(
        above(
            gaps[0] - gaps[1],
            name="gap between teachers after one stage − after two",
            **effects.convention("share"),
        )
    )
    yield from secondary(
        above(gaps[0], name="supervised − random teacher, one stage"),
        above(gaps[1], name="supervised − random teacher, two stages"),
        above(second[RANDOM] - second[LONG], name="two stages − one as long, random teacher"),
    )
    lab.note(
        f"The registered method on {TEACHERS.data} under the recipe cpu-dense, {STEPS} steps a stage; a run of two",
        "stages begins as that of one. The supervised teacher is the tower of a cross-entropy run on the same pictures",
        "and their colours, one a seed. Accuracy of the colour by a linear probe, after one stage:",
        f"{first.means()}; after two: {second.means()}; the teachers': {teachers.scores(metric).means()}.",
    )
