"""Things of any look and true sentences about them, as data for studies, and kinds of things by names nobody learns.

A study names the data as it names any data of a file: ``looks.py:LOOKS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations, product
from typing import NamedTuple, final

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from counterpoint.data.base import Rows, Splits
from counterpoint.data.pictured import PairedData
from counterpoint.data.synthetic.scenes.config import SIDES
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.data.synthetic.scenes.scene import UNIT, Colour, Scene, Size, Thing
from counterpoint.data.synthetic.scenes.words.descriptions import TEMPLATE, ClassDescription, invented

SIDE = 32
"""Pixels of a side of the pictures."""
TRAINED, HELD, CAPTIONS = 4000, 100, 4
"""Pictures to train on, of each other split, and sentences about each."""
CONCEPTS = ("cat", "fish", "apple", "car", "key", "hat")
COLOURS: tuple[Colour, ...] = ("red", "yellow", "green", "blue", "purple")
VALUES: tuple[tuple[str, ...], ...] = (
    COLOURS,
    ("small", "large"),
    ("on the left", "on the right"),
    ("at the top", "at the bottom"),
)
"""Values of colour, size, column and row."""
PAIRS = tuple(combinations(range(len(VALUES)), 2))
"""The two traits in which the kinds of a concept differ: of each concept others."""
KINDS = 4
_WORDS = [each.name.split()[1] for each in invented([Thing("cat", None, "small", 160, 500, 500)] * 42)]
_SHUFFLED = np.random.default_rng(0).permutation(_WORDS).tolist()
NAMES, OTHER_NAMES = _SHUFFLED[: KINDS * len(CONCEPTS)], _SHUFFLED[KINDS * len(CONCEPTS) :]
"""Odd words that name kinds, of which no sentence to learn from has one, and those that such sentences have."""


class ConceptVariant(NamedTuple):
    """A concept and one of each of `VALUES`."""

    concept: str
    values: tuple[str, ...]


def kinds(seed: int) -> tuple[list[ConceptVariant], list[ClassDescription]]:
    """Invent four kinds of each concept, named by a word no caption has, that differ in two traits and share two."""
    rng = np.random.default_rng([seed, 1])
    looks = []
    for concept, varied in zip(CONCEPTS, PAIRS, strict=True):
        options = [
            rng.permutation(np.asarray(values))[: 1 + (t in varied)] for t, values in enumerate(VALUES)
        ]
        looks += [ConceptVariant(concept, tuple(map(str, values))) for values in product(*options)]
    described = [
        ClassDescription(
            f"a {word} {look.concept}",
            {"colour": look.values[:1], "size": look.values[1:2], "place": look.values[2:]},
        )
        for word, look in zip(rng.permutation(NAMES).tolist(), looks, strict=True)
    ]
    return looks, described


def scene(item: ConceptVariant, rng: np.random.Generator) -> Scene:
    """Place a thing of this look, of exact size and place at random."""
    colour, size, column, row = item.values
    side = 2 * int(rng.integers(SIDES[_size(size)][0] // 2, SIDES[_size(size)][1] // 2 + 1))
    x, y = (int(at) for at in rng.integers(side // 2, 351, 2))
    x, y = (UNIT - x if column == VALUES[2][1] else x), (UNIT - y if row == VALUES[3][1] else y)
    return Scene(0, (Thing(item.concept, _colour(colour), _size(size), side, x, y),))


def _colour(word: str) -> Colour:
    return next(colour for colour in COLOURS if colour == word)


def _size(word: str) -> Size:
    return next(size for size in SIDES if size == word)


def caption(item: ConceptVariant, rng: np.random.Generator) -> str:
    """Write a true sentence of some of the look's traits, with an odd word before every other noun."""
    noun = f"a {rng.choice(OTHER_NAMES)} {item.concept}" if rng.random() < 0.5 else f"a {item.concept}"
    traits = rng.permutation(np.asarray(item.values))[: rng.integers(len(item.values) + 1)].tolist()
    return TEMPLATE.format(noun) + (f", which is {' and '.join(traits)}" if traits else "")


@final
class Looks(PairedData):
    """Pictures of one thing each, of any look, and sentences about them."""

    name = "looks of things"

    def __init__(self) -> None:
        rng = np.random.default_rng(2)
        self.ids = np.arange(TRAINED + 2 * HELD)
        self.splits = Splits(
            self.ids[:TRAINED], {"looks": self.ids[TRAINED:-HELD]}, {"looks": self.ids[-HELD:]}
        )
        looks = [
            ConceptVariant(str(rng.choice(CONCEPTS)), tuple(str(rng.choice(values)) for values in VALUES))
            for _ in self.ids
        ]
        self._scenes = [scene(look, rng) for look in looks]
        self._captions = [[caption(look, rng) for _ in range(CAPTIONS)] for look in looks]

    @cached_property
    def _pictures(self) -> UInt8[Tensor, "N 3 S S"]:
        return draw(self._scenes, SIDE).pictures

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 S S"]:
        return self._pictures[rows]

    def captions(self, row: int) -> Sequence[str]:
        return self._captions[row]


LOOKS = Looks()
