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


def after(stages: int, teacher: str) -> str:
    return f"{teacher}, {stages} stage{'s' * (stages > 1)}"


def taught(teacher: Path) -> dict[str, str]:
    """Return the arms, of which two are taught by the run of the same seed."""
    options = {RANDOM: "", SUPERVISED: f',teacher="{teacher}"'}
    return {after(n, name): f"dbot,stages={n}{option}" for n in (1, 2) for name, option in options.items()}


COMPARISON = replace(
    TEACHERS,
    arms=taught(Path("runs/teachers/seed-{seed}")),
    changes={"steps": STEPS, "validate_every": 2 * STEPS},
    # Each stage is as long as that of the arms with one.
    steps={after(2, RANDOM): 2 * STEPS, after(2, SUPERVISED): 2 * STEPS},
    budget="passes",
)
LONGER = replace(COMPARISON, arms={LONG: "dbot,stages=1"}, steps={LONG: 2 * STEPS})


def run(lab: Lab) -> Iterator[Result]:
    teachers = lab.study(TEACHERS, "teachers")
    study = lab.study(replace(COMPARISON, arms=taught(teachers.each("cross-entropy"))))
    longer = lab.study(LONGER, "longer").scores("probe logistic_colour_top1")
    scores = study.scores("probe logistic_colour_top1")
    gaps = [scores[after(n, SUPERVISED)] - scores[after(n, RANDOM)] for n in (1, 2)]
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
        above(scores[after(2, RANDOM)] - longer[LONG], name="two stages − one as long, random teacher"),
    )
    lab.note(
        f"The registered method on {TEACHERS.data} under the recipe cpu-dense, {STEPS} steps a stage; a run of two",
        "stages begins as that of one. The supervised teacher is the tower of a cross-entropy run on the same pictures",
        f"and their colours, one a seed. Accuracy of the colour by a linear probe: {scores.means()},",
        f"{longer.means()}; the teachers':",
        f"{teachers.scores('probe logistic_colour_top1').means()}.",
    )
