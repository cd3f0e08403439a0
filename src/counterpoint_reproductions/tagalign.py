"""TagAlign: the tags of captions tell a frozen CLIP's patches what is where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "A projector on the patches of a frozen CLIP finds things of a named look better where it learns the tags of "
    "captions beside captions than where the tags are shuffled among pictures."
)
REFUTED = "shuffled tags do as well"
TAGS = effects.convention("share")

OWN, SHUFFLED, CONTRAST = "tags", "shuffled tags", "captions alone"
STEPS = 400
LOOK, NAME = "segmentation,kinds=look", "segmentation"
DATA = "scenes:tiny,train=4000,validation=200,test=1000"
TEACHERS = TrainingComparison(
    {"CLIP": "clip,image=vit"},
    {NAME: ("iou",)},
    data=DATA,
    recipe="cpu-dense",
    changes={"steps": 500, "validate_every": 500},
)


def on(run: Path) -> dict[str, str]:
    """Return the arms, which go on from the run of the same seed."""
    tagalign = f'tagalign,from="{run}"'
    return {CONTRAST: f"{tagalign},weight=0", SHUFFLED: f"{tagalign},shuffled=true", OWN: tagalign}


COMPARISON = replace(
    TEACHERS,
    arms=on(Path("runs/teachers/seed-{seed}")),
    tasks={LOOK: ("iou",), NAME: ("iou",)},
    changes={"steps": STEPS, "validate_every": STEPS},
)


def run(lab: Lab) -> Iterator[Result]:
    teachers = lab.study(TEACHERS, "teachers")
    study = lab.study(replace(COMPARISON, arms=on(teachers.each("CLIP"))))
    look, name = (study.scores(f"{task} iou") for task in (LOOK, NAME))
    yield from decides(
        above(look[OWN] - look[SHUFFLED], name="1: IoU of looks, tags − shuffled tags", **TAGS)
    )
    yield from secondary(
        above(look[OWN] - look[CONTRAST], name="1: IoU of looks, tags − captions alone"),
        above(name[OWN] - name[SHUFFLED], name="2: IoU of things, tags − shuffled tags"),
        above(name[OWN] - name[CONTRAST], name="2: IoU of things, tags − captions alone"),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe cpu-dense, {STEPS} steps, from a CLIP run of 500 steps",
        "with the same seed. Tags are the nouns of captions by WordNet, colours among them. IoU of phrases with a",
        f"colour or a size: {look.means()}; of names: {name.means()}; of names by the CLIP runs:",
        f"{teachers.scores(f'{NAME} iou').means()}.",
    )
