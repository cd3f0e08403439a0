"""DeepStack: detail of a finer view, added layer by layer, without a longer sequence."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, below, decides, effects, secondary

CLAIM = (
    "Patches of a finer view, added in strides to the tokens of a coarse view in front of successive layers, lower the "
    "negative log-likelihood of captions of small things below that with the coarse view repeated, and below that with "
    "groups by tiles, by 5 % of it, at the same number of tokens and steps."
)
REFUTED = "repeating the coarse view or grouping by tiles does as well"
SHARE = effects.of_the_rest(58.2, 62.4, "TextVQA, LLaVA-1.5-7B against DeepStack-L-7B", perfect=100)

COARSE, REPEATED, TILES, STRIDED = "coarse view alone", "repeated", "tiles", "strided"
STEPS = 400
DATA = (
    "scenes:tiny,objects=1-1,tinted=1,sizes=small,talk=captions,train=6000,validation=64,test=1000,pixels=64"
)
"""Pictures of 64 pixels a side with one coloured thing, whose side is a tenth or two of the whole."""
STACKED = "sft,bridge=stacked,image_tiles=2"
COMPARISON = TrainingComparison(
    {
        COARSE: "sft",
        REPEATED: f"{STACKED},groups=repeated",
        TILES: f"{STACKED},groups=tiles",
        STRIDED: STACKED,
    },
    {"likelihood": ("nats", "thing_nats", "colour_nats")},
    data=DATA,
    recipe="speak",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "towers.image": "cnn",
        "towers.image_size": 32,
        "towers.talk_layers": 5,
        "towers.talk_width": 64,
        "towers.talk_context": 40,
    },
)
"""The finer view is all of the picture, the coarse one has half of its side and a grid of 4 × 4 patches."""


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    nats = study.scores("likelihood nats")
    things = study.scores("likelihood thing_nats")
    colours = study.scores("likelihood colour_nats")
    yield from decides(
        below(
            (nats[STRIDED] - nats[REPEATED]) / nats[REPEATED],
            name="1: nats a word, strided − repeated, as a share of repeated",
            **SHARE,
        ),
        below(
            (nats[STRIDED] - nats[TILES]) / nats[TILES],
            name="2: nats a word, strided − tiles, as a share of tiles",
            **SHARE,
        ),
    )
    yield from secondary(
        below(nats[REPEATED] - nats[COARSE], name="nats a word, repeated − the coarse view alone"),
        below(things[STRIDED] - things[REPEATED], name="nats of a name of a thing, strided − repeated"),
        below(colours[STRIDED] - colours[REPEATED], name="nats of a colour, strided − repeated"),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe speak with a cnn of 32 px, {STEPS} steps of 32, from random "
        "weights. The tower reads five pictures where the coarse view alone needs one.",
        f"Nats a word: {nats.means()}; of names of things: {things.means()}.",
    )
