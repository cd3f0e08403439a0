"""CoSMo: contrast between the halves of a language model gives retrieval and costs no likelihood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, below, decides, effects, secondary

CLAIM = (
    "With contrast between a picture and the first half of a language model, one model retrieves captions at more than "
    "ten times chance, and loses at most 0.02 nats a word against the same training without contrast."
)
REFUTED = "recall is at most ten times chance, or contrast costs more than 0.02 nats a word"
TEN_TIMES = effects.level("ten times chance is far above it; chosen before the run", "convention")

WITHOUT, WITH = "without contrast", "CoSMo"
STEPS, TEST = 400, 1000
TOWERS = TrainingComparison(
    {"CLIP": "clip,image=vit,columns=image+text"},
    {"retrieval": ("i2t_R@1",)},
    data=f"scenes:tiny,tinted=1,talk=captions,train=6000,validation=64,test={TEST}",
    recipe="speak",
    changes={"steps": 400, "validate_every": 400, "batch_size": 64, "optimizer.lr": 0.002},
)


def on(tower: Path) -> dict[str, str]:
    """Return the arms, which read the tower of the run of the same seed."""
    of = f'cosmo,image="vit@{tower}",latents=8,every=1'
    return {WITHOUT: f"{of},contrast=0", WITH: of}


COMPARISON = replace(
    TOWERS,
    arms=on(Path("runs/towers/seed-{seed}")),
    tasks={"likelihood": ("nats", "thing_nats", "colour_nats"), "retrieval": ("i2d_R@1", "d2i_R@1")},
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "towers.talk_layers": 4,
        "towers.talk_context": 40,
    },
)


def run(lab: Lab) -> Iterator[Result]:
    towers = lab.study(TOWERS, "towers")
    study = lab.study(replace(COMPARISON, arms=on(towers.each("CLIP"))))
    nats = study.scores("likelihood nats")
    colours = study.scores("likelihood colour_nats")
    captions, pictures = (study.scores(f"retrieval {metric}") for metric in ("i2d_R@1", "d2i_R@1"))
    yield from decides(
        above(captions[WITH], 10 / TEST, name="1: R@1 of captions, CoSMo", **TEN_TIMES),
        below(
            nats[WITH] - nats[WITHOUT],
            name="2: nats a word, CoSMo − without contrast",
            **effects.tolerance("nats"),
        ),
    )
    yield from secondary(
        above(pictures[WITH], 10 / TEST, name="R@1 of pictures, CoSMo"),
        above(captions[WITH] - captions[WITHOUT], name="R@1 of captions, CoSMo − vectors without contrast"),
        below(colours[WITH] - colours[WITHOUT], name="nats of a colour, CoSMo − without contrast"),
    )
    lab.note(
        f"The registered method on {COMPARISON.data} under the recipe speak, {STEPS} steps of 32, with a new language",
        "model of four layers that is trained as a whole, where the paper's is pretrained and frozen. Towers of",
        "pictures are frozen, of CLIP runs on the same pictures, one a seed. Each row's own caption is right, so that",
        f"equal captions share the rank. Nats a word: {nats.means()}; R@1 of captions: {captions.means()}; of the",
        f"CLIP runs, among distinct captions: {towers.scores('retrieval i2t_R@1').means()}.",
    )
