"""CapPa: a captioner knows which colour belongs to which thing, where CLIP does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "The likelihood of a caption given the picture, less that without it, tells a caption from one with two colours or "
    "two things exchanged more often than CLIP's similarity does, by 0.1, at equal time and from equal towers."
)
REFUTED = "CLIP tells them as well"
DELTA = effects.convention("share", of=10)

CLIP, CAP, CAPPA = "CLIP", "Cap", "CapPa"
STEPS, PRETRAINED = 600, 300
DATA = (
    "scenes:basic,objects=2-2,concepts=cat+fish+apple+banana+car+key+hat+tree,tinted=1,sizes=medium,relations=0,"
    "train=4000,validation=64,test=3000,pixels=64"
)
"""Two coloured things without a relation: exchanged things are exchanged colours too. A third of the choices is so."""
PRETRAINING = TrainingComparison(
    {CLIP: "clip"},
    {"sugarcrepe": ("swap",)},
    data=DATA,
    recipe="cpu",
    changes={
        "steps": PRETRAINED,
        "validate_every": PRETRAINED,
        "batch_size": 64,
        "towers.image_size": 64,
        "augmentation.paired": "plain",
    },
)


def started(towers: Path) -> dict[str, str]:
    """Return the arms, each from the image tower that CLIP has trained under the same seed."""
    image = f'image="cnn@{towers}"'
    return {CLIP: f"clip,{image}", CAPPA: f"cappa,{image}", CAP: f"cappa,parallel=0,{image}"}


COMPARISON = replace(
    PRETRAINING,
    arms=started(Path("runs/pretraining/seed-{seed}")),
    tasks={"sugarcrepe": ("swap", "swap[pmi]"), "probe": ("logistic_concept_top1",)},
    changes={**PRETRAINING.changes, "steps": STEPS, "validate_every": STEPS},
    # A step of a captioner takes one and a half times as long.
    steps={CLIP: 3 * STEPS // 2},
    budget="time",
)


def run(lab: Lab) -> Iterator[Result]:
    towers = lab.study(PRETRAINING, "pretraining")
    study = lab.study(replace(COMPARISON, arms=started(towers.each(CLIP))))
    clip = study.scores("sugarcrepe swap", arms=(CLIP,))
    pmi, joint = (study.scores(f"sugarcrepe swap[{head}]", arms=(CAPPA, CAP)) for head in ("pmi", "joint"))
    probe = study.scores("probe logistic_concept_top1")
    yield from decides(
        above(
            pmi[CAP] - clip[CLIP],
            name="1: exchanged colours, Cap's likelihood less the blind one − CLIP",
            **DELTA,
        )
    )
    yield from secondary(
        above(joint[CAP] - clip[CLIP], name="1: exchanged colours, Cap's likelihood − CLIP"),
        above(
            pmi[CAPPA] - clip[CLIP], name="2: exchanged colours, CapPa's likelihood less the blind one − CLIP"
        ),
        above(pmi[CAP] - pmi[CAPPA], name="2: exchanged colours, Cap − CapPa"),
        above(probe[CAPPA] - probe[CLIP], name="2: probe of the concept, CapPa − CLIP"),
    )
    lab.note(
        f"The registered methods on {DATA} under the recipe cpu at 64 px, batches of 64: image towers by {PRETRAINED}",
        f"steps of CLIP, one a seed, then {STEPS} steps of the captioners and {3 * STEPS // 2} of CLIP from these.",
        f"By similarity: {clip.means()}. By likelihood: {joint.means()};",
        f"less the blind one: {pmi.means()}.",
    )
