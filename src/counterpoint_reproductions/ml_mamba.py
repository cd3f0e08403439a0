"""ML-Mamba: scans of the grid of patches tell a state-space language model where things are."""

from __future__ import annotations

from collections.abc import Iterator

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
DATA = "scenes:tiny,train=6000,validation=64,test=1000,talk=captions"
COMPARISON = TrainingComparison(
    {
        SINGLE: "sft,bridge=scan,scan=single,lm=mamba2",
        BOTH_WAYS: "sft,bridge=scan,scan=bidirectional,lm=mamba2",
        CROSS: "sft,bridge=scan,lm=mamba2",
        TRANSFORMER: "sft,bridge=scan,scan=single,lm=llama",
    },
    {"likelihood": ("nats", "place_nats", "thing_nats")},
    data=DATA,
    recipe="speak",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "towers.image": "patches",
        "towers.image_width": None,
        "towers.image_layers": None,
        "towers.image_patch": None,
        "towers.image_size": 32,
        "towers.talk_width": 64,
        "towers.talk_context": 40,
    },
)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
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
        f"The registered method on {DATA} under the recipe speak, {STEPS} steps of 32 from random weights, with a",
        "tower whose 49 patches of 32 px overlap and have features of their own. Single patches go through the layers",
        "of the cross-scan as sequences of one token, so that both have the same parameters.",
        f"Nats a word: {nats.means()}; of words for places: {places.means()}; of names of things: {things.means()}.",
    )
