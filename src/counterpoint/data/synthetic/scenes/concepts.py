"""Concepts that scenes are made of: emoji that one plain, countable noun names, whichever of the artists drew them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "animal", "food", "vehicle", "tool", "instrument", "clothing", "plant", "furniture", "toy", "container"
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Concept:
    """A kind of thing.

    Attributes:
        name: the English noun, in the singular; what annotations say.
        codepoints: of its emoji, as in the emoji table.
        kind: what sort of thing it is.
    """

    name: str
    codepoints: str
    kind: Kind


_NAMED: dict[Kind, dict[str, str]] = {
    "animal": {
        "cat": "1F408",
        "dog": "1F415",
        "horse": "1F40E",
        "cow": "1F404",
        "pig": "1F416",
        "sheep": "1F411",
        "rabbit": "1F407",
        "tiger": "1F405",
        "elephant": "1F418",
        "duck": "1F986",
        "fish": "1F41F",
        "turtle": "1F422",
        "snail": "1F40C",
        "monkey": "1F412",
        "mouse": "1F401",
        "whale": "1F40B",
        "snake": "1F40D",
        "butterfly": "1F98B",
    },
    "food": {
        "apple": "1F34E",
        "banana": "1F34C",
        "pear": "1F350",
        "strawberry": "1F353",
        "carrot": "1F955",
        "lemon": "1F34B",
        "pineapple": "1F34D",
        "hamburger": "1F354",
        "doughnut": "1F369",
        "mushroom": "1F344",
    },
    "vehicle": {
        "car": "1F697",
        "bus": "1F68C",
        "tractor": "1F69C",
        "bicycle": "1F6B2",
        "sailboat": "26F5",
        "helicopter": "1F681",
        "rocket": "1F680",
        "train": "1F682",
        "truck": "1F69A",
    },
    "tool": {
        "key": "1F511",
        "hammer": "1F528",
        "pencil": "270F FE0F",
        "broom": "1F9F9",
        "camera": "1F4F7",
        "telephone": "260E FE0F",
        "laptop": "1F4BB",
        "umbrella": "2602 FE0F",
        "anchor": "2693",
    },
    "instrument": {
        "guitar": "1F3B8",
        "trumpet": "1F3BA",
        "drum": "1F941",
        "violin": "1F3BB",
        "bell": "1F514",
    },
    "clothing": {
        "shirt": "1F455",
        "dress": "1F457",
        "hat": "1F3A9",
        "scarf": "1F9E3",
        "backpack": "1F392",
    },
    "plant": {
        "tree": "1F333",
        "palm": "1F334",
        "cactus": "1F335",
        "tulip": "1F337",
        "rose": "1F339",
        "sunflower": "1F33B",
    },
    "furniture": {
        "chair": "1FA91",
        "bed": "1F6CF FE0F",
        "candle": "1F56F FE0F",
        "television": "1F4FA",
        "teapot": "1FAD6",
    },
    "toy": {
        "ball": "26BD",
        "balloon": "1F388",
        "kite": "1FA81",
        "teddy bear": "1F9F8",
        "crown": "1F451",
    },
    # Large, hollow or plain in the middle, so that a small thing drawn over them is seen to be inside.
    "container": {
        "ring": "2B55",
        "window": "1FA9F",
        "box": "1F4E6",
        "mirror": "1FA9E",
    },
}

CONCEPTS: dict[str, Concept] = {
    name: Concept(name, codepoints, kind)
    for kind, named in _NAMED.items()
    for name, codepoints in named.items()
}
"""Every concept by its name."""

FACED = frozenset(
    {"cat", "dog", "horse", "cow", "pig", "sheep", "rabbit", "tiger"}
    | {"elephant", "duck", "turtle", "monkey", "mouse", "whale"}
)
"""Concepts that both artists draw from the side, looking left: only of these do words say which way they face."""
