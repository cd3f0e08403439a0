"""ALBEF: aligning two towers by contrast before they are fused makes matching learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, above, decides, effects, secondary
from .lab.clip_pairs import ARM, pretraining

CLAIM = (
    "Asked which of two captions fits a picture, a joint encoder that is trained with contrast and with negatives by "
    "similarity finds replaced things and colours more often than one that is trained by matching and hidden words "
    "alone, with random negatives, by 0.05 at equal steps and from equal image towers."
)
REFUTED = "without alignment it finds them as often"
DELTA = effects.convention("share", of=5)

ALIGNED, RANDOM, UNALIGNED = "aligned", "aligned, random negatives", "no contrast, random negatives"
STEPS, PRETRAINED = 250, 300
DATA = (
    "scenes:basic,objects=2-2,concepts=cat+fish+apple+banana+car+key+hat+tree,tinted=1,sizes=medium,relations=0,"
    "train=4000,validation=64,test=1500,pixels=64"
)
"""Two coloured things without a relation. The other option is a caption with another thing or another colour."""
PRETRAINING = pretraining(DATA, PRETRAINED, 64, {"sugarcrepe": ("replace",)})


def started(towers: Path) -> dict[str, str]:
    """Return the arms, each from the image tower that CLIP has trained under the same seed."""
    albef = f'albef,hidden=0.25,image="cnn@{towers}"'
    return {
        UNALIGNED: f"{albef},contrast=0,negatives=random",
        RANDOM: f"{albef},negatives=random",
        ALIGNED: albef,
    }


COMPARISON = replace(
    PRETRAINING,
    arms=started(Path("runs/pretraining/seed-{seed}")),
    tasks={"sugarcrepe": ("replace", "replace[joint]")},
    changes={**PRETRAINING.changes, "steps": STEPS, "validate_every": STEPS},
)


def run(lab: Lab) -> Iterator[Result]:
    towers = lab.study(PRETRAINING, "pretraining")
    study = lab.study(replace(COMPARISON, arms=started(towers.each(ARM))))
    joint, embedding = (study.scores(f"sugarcrepe replace{head}") for head in ("[joint]", ""))
    yield from decides(
        above(
            joint[ALIGNED] - joint[UNALIGNED],
            name="1: replaced things and colours by the joint score, aligned − no contrast",
            **DELTA,
        )
    )
    yield from secondary(
        above(joint[ALIGNED] - joint[RANDOM], name="2: by similarity − random negatives, both with contrast"),
        above(joint[RANDOM] - joint[UNALIGNED], name="2: contrast − none, both with random negatives"),
        above(joint[ALIGNED] - embedding[ALIGNED], name="3: the joint score − the embedding, aligned"),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe cpu at 64 px, batches of 64: image towers by {PRETRAINED}",
        f"steps of CLIP, one a seed, then {STEPS} steps with a quarter of the words hidden.",
        f"Joint: {joint.means()}; by embedding: {embedding.means()}.",
    )
