"""Scenes of two to ten alike, of whose captions a fifth say the number, as data for studies.

A study names the data as it names any data of a file: ``counts.py:COUNTS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from counterpoint.data.base import Rows, Splits
from counterpoint.data.pictured import PairedData
from counterpoint.data.worlds.rng import Rng
from counterpoint.data.worlds.scenes.concepts import CONCEPTS
from counterpoint.data.worlds.scenes.items.changes import recount
from counterpoint.data.worlds.scenes.pixels.render import draw
from counterpoint.data.worlds.scenes.scene import Scene
from counterpoint.data.worlds.scenes.words.captions import phrase, short
from counterpoint.data.worlds.scenes.world import Scenes

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
    """Scenes of concepts that training shows, some captions of which say how many things there are.

    Attributes:
        numbered: the training rows whose caption says the number.
    """

    name = "scenes of two to ten alike"

    def __init__(self) -> None:
        self.ids = np.arange(TRAINED + 2 * HELD)
        self.splits = Splits(
            self.ids[:TRAINED], {"seen": self.ids[TRAINED:-HELD]}, {"seen": self.ids[-HELD:]}
        )
        self.numbered: Rows = np.flatnonzero(np.random.default_rng(5).random(TRAINED) < MENTIONED)
        self._numbered = set(self.numbered.tolist())

    @property
    def scenes(self) -> Counted:
        return counted(SEEN, "train", len(self))

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 S S"]:
        return self.scenes.pictures[torch.from_numpy(rows)]

    def captions(self, row: int) -> Sequence[str]:
        if row in self._numbered:
            return (self.scenes.captions[row][self.scenes.numbers[row]],)
        return (self.scenes.plain[row],)


COUNTS = Counts()
