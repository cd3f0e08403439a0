"""ML-Mamba: scans of the grid of patches tell a state-space language model where things are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, below, decides, effects, secondary

CLAIM = (
    "Before a Mamba-2 that reads patches seen without attention to each other, scans of the grid by rows and columns, "
    "both ways, give words for places fewer nats than the same layers on each patch alone, by 0.02."
)
REFUTED = "layers on each patch alone do as well"

SINGLE, BOTH_WAYS, CROSS, TRANSFORMER = (
    "single patches",
    "both ways by rows",
    "cross-scan",
    "single, Transformer",
)
STEPS = 250
DATA = (
    "scenes:tiny,objects=2-2,relations=1,relation_kinds=left of+right of+above+below,tinted=1,sizes=large,"
    "talk=captions,train=6000,validation=64,test=1000"
)
"""Two coloured things, one left of, right of, above or below the other."""
TOWERS = TrainingComparison(
    {"CLIP": "clip,image=patches,columns=image+text"},
    {"retrieval": ("i2t_R@1",)},
    data=DATA,
    recipe="speak",
    changes={"steps": 400, "validate_every": 400, "batch_size": 64, "towers.image_size": 32},
)
"""Gives the picture tower of each seed, whose patches have features of their own."""


def on(run: Path) -> dict[str, str]:
    """Return the arms, which read the tower of the run of the same seed."""
    of = f'sft,bridge=scan,image="patches@{run}"'
    return {
        SINGLE: f"{of},scan=single,lm=mamba2",
        BOTH_WAYS: f"{of},scan=bidirectional,lm=mamba2",
        TRANSFORMER: f"{of},scan=single,lm=llama",
        CROSS: f"{of},lm=mamba2",
    }


COMPARISON = replace(
    TOWERS,
    arms=on(Path("runs/towers/seed-{seed}")),
    tasks={"likelihood": ("nats", "place_nats", "thing_nats")},
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "towers.image_size": 32,
        "towers.talk_width": 64,
        "towers.talk_context": 40,
    },
)


def run(lab: Lab) -> Iterator[Result]:
    towers = lab.study(TOWERS, "towers")
    study = lab.study(replace(COMPARISON, arms=on(towers.each("CLIP"))))
    nats, places, things = (
        study.scores(f"likelihood {kind}") for kind in ("nats", "place_nats", "thing_nats")
    )
    yield from decides(
        below(
            places[CROSS] - places[SINGLE],
            name="nats of a word for a place, cross-scan − single patches",
            **effects.convention("nats", reason="the paper's figures are accuracies of large models"),
        )
    )
    yield from secondary(
        below(
            places[CROSS] - places[BOTH_WAYS],
            name="nats of a word for a place, cross-scan − both ways by rows",
        ),
        below(things[CROSS] - things[SINGLE], name="nats of a name of a thing, cross-scan − single patches"),
        below(nats[CROSS] - nats[SINGLE], name="nats a word, cross-scan − single patches"),
        below(
            places[SINGLE] - places[TRANSFORMER],
            name="nats of a word for a place, single patches, Mamba-2 − Transformer",
        ),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe speak, {STEPS} steps of 32. The picture tower is",
        "frozen, of a CLIP run with the same seed; its 49 patches overlap and have features of their own. Each patch",
        "alone goes through the layers of the cross-scan, as a sequence of one token, with the same parameters.",
        f"Nats a word: {nats.means()}; of words for places: {places.means()}; of names of things: {things.means()}.",
    )
