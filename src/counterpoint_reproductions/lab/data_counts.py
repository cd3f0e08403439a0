"""Scenes of two to ten alike, of whose captions a fifth say the number, as data for studies.

A study names them as it names any data of a file: ``counts.py:ALL``, ``counts.py:HALF``, of whose captions half say the
number, and ``counts.py:WRONG``, where three of ten of these are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from counterpoint.data.base import Rows, SomeItems, Splits
from counterpoint.data.items import Choices
from counterpoint.data.pictured import PairedData
from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.concepts import CONCEPTS
from counterpoint.data.synthetic.scenes.items.changes import recount
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.data.synthetic.scenes.scene import Scene
from counterpoint.data.synthetic.scenes.words.captions import phrase, short
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.modalities import PAIR

SIDE = 32
"""Pixels of a side of the pictures."""
NUMBERS = range(2, 11)
SEEN, NEW = tuple(CONCEPTS)[:60], tuple(CONCEPTS)[60:]
TRAINED, HELD, TESTED = 5000, 100, 900
MENTIONED = 0.2
"""Share of captions that say a number."""


class Counted(NamedTuple):
    """Scenes of two to ten alike.

    Attributes:
        pictures: small.
        captions: the scene's with each of `NUMBERS`, nine a scene.
        plain: without a number.
        numbers: places in `NUMBERS` of the true ones.
    """

    pictures: UInt8[Tensor, "n 3 S S"]
    captions: list[list[str]]
    plain: list[str]
    numbers: Int[np.ndarray, " n"]


@lru_cache(maxsize=4)
def counted(concepts: tuple[str, ...], split: str, count: int) -> Counted:
    """Draw scenes of these concepts, each shrunk by its own factor so that area does not tell the number."""
    source = (
        f"scenes:counts,objects=2-10,backgrounds=white,tinted=0,concepts={'+'.join(concepts)},test={TESTED}"
    )
    world = Scenes.parse(source)
    rows = (world.splits.train if split == "train" else world.splits.test["as trained"])[:count]
    scenes = [world.scene(int(row)) for row in rows]
    return Counted(
        draw(
            [shrunk(scene, world.draws(int(row))) for scene, row in zip(scenes, rows, strict=True)], SIDE
        ).pictures,
        [[short(recount(s, tuple(range(len(s.things))), n)).text for n in NUMBERS] for s in scenes],
        [phrase(scene.things[0], count=2, determiner="") for scene in scenes],
        np.array([NUMBERS.index(len(scene.things)) for scene in scenes]),
    )


def shrunk(scene: Scene, draws: Rng) -> Scene:
    """Shrink all things by the same factor, between 1 and 0.6, so to a third of the area at most."""
    factor = draws.integer("shrunk", 60, 100)
    return replace(scene, things=tuple(replace(it, side=it.side * factor // 200 * 2) for it in scene.things))


@final
class Counts(PairedData):
    """Scenes of which some captions say how many things there are, and false captions of those, with other numbers.

    Test sets are scenes of concepts that training shows (``seen``), and of others (``new``); their captions say no
    number, and items ask for it.

    Args:
        name: of the data.
        rows: to train on.
        wrong: share of the numbers in training that are wrong.
    """

    columns = MappingProxyType({**PAIR, "negative": "text"})

    def __init__(self, name: str, rows: Rows, wrong: float = 0.0) -> None:
        self.name = name
        self.ids = np.arange(ROWS)
        held, seen, new = np.split(self.ids[TRAINED:], (HELD, HELD + TESTED))
        self.splits = Splits(rows, {"seen": held}, {"seen": seen, "new": new})
        self._false = set(NUMBERED[np.random.default_rng(6).random(len(NUMBERED)) < wrong].tolist())

    @cached_property
    def _scenes(self) -> tuple[Counted, ...]:
        """The scenes of training and validation, and of both test sets."""
        trained = counted(SEEN, "train", TRAINED + HELD)
        return trained, counted(SEEN, "test", TESTED), counted(NEW, "test", TESTED)

    def placed(self, row: int) -> tuple[Counted, int]:
        """Return the scenes that a row is among, and its place there."""
        if row < TRAINED + HELD:
            return self._scenes[0], row
        test, place = divmod(row - TRAINED - HELD, TESTED)
        return self._scenes[1 + test], place

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 S S"]:
        placed = [self.placed(row) for row in rows.tolist()]
        return torch.stack([scenes.pictures[place] for scenes, place in placed])

    def said(self, row: int) -> int:
        """Return the place in `NUMBERS` of the number that a row's caption says."""
        true = int(self._scenes[0].numbers[row])
        other = 1 + row % (len(NUMBERS) - 1)
        return (true + other) % len(NUMBERS) if row in self._false else true

    def captions(self, row: int) -> Sequence[str]:
        scenes, place = self.placed(row)
        return (scenes.captions[place][self.said(row)] if row in _NUMBERED else scenes.plain[place],)

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return np.isin(rows, NUMBERED) if column == "negative" else super().present(column, rows)

    def read(self, column: str, rows: Rows) -> Any:
        if column == "negative":
            return [texts[0] for texts in self.read_training(column, rows)]
        return super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        """Return the captions with the eight other numbers, of which a step draws one."""
        if column != "negative":
            return super().read_training(column, rows)
        every = [self._scenes[0].captions[row] for row in rows.tolist()]
        said = [self.said(row) for row in rows.tolist()]
        return [texts[:true] + texts[true + 1 :] for texts, true in zip(every, said, strict=True)]

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        asked = CountChoices(self, rows) if form is Choices else None
        return asked if isinstance(asked, form) else super().items(form, rows, kinds)


@final
class CountChoices(Choices):
    """A picture and nine captions, which say two to ten."""

    def __init__(self, data: Counts, rows: Rows) -> None:
        self.ids, self.kinds, self._data = rows, ["count"] * len(rows), data
        placed = [data.placed(row) for row in rows.tolist()]
        self.options = [scenes.captions[place] for scenes, place in placed]
        self.answers = np.array([scenes.numbers[place] for scenes, place in placed])

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 S S"]:
        return self._data.images(self.ids[positions])


ROWS = TRAINED + HELD + 2 * TESTED
NUMBERED: Rows = np.flatnonzero(np.random.default_rng(5).random(TRAINED) < MENTIONED)
"""Training rows whose caption says the number."""
_NUMBERED = set(NUMBERED.tolist())
_OTHERS = np.setdiff1d(np.arange(TRAINED), NUMBERED)[: len(NUMBERED)]
_HALF = np.sort(np.concatenate([NUMBERED, _OTHERS]))

ALL = Counts("scenes of two to ten alike", np.arange(TRAINED))
HALF = Counts("scenes of two to ten alike, half of them counted", _HALF)
WRONG = Counts("scenes of two to ten alike, half of them counted, many wrongly", _HALF, wrong=0.3)
