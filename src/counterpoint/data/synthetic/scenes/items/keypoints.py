"""The same thing in two scenes, and where the same points of it are in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ....base import Rows
from ....items import Correspondences
from ..pixels.render import draw, pictures
from ..rows import SceneRows
from ..scene import UNIT, Thing
from .item_rows import PER_ROW

LATTICE = np.array(list(product((0.1, 0.3, 0.5, 0.7, 0.9), repeat=2)))
"""(x, y) of the points that are looked for, on the square of a thing that is one wide and faces left."""


class _Shown(NamedTuple):
    row: int
    thing_index: int
    thing: Thing


@final
class SceneCorrespondences(Correspondences):
    """Each thing beside the same artist's drawing of its concept in the nearest earlier row that has one.

    Its colour, size and place may be others. Points of both are those that are seen in both; things of which a scene
    has several are left out, since each would be right. The kind says whether the two face the same way.
    """

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        seen = {row: draw([world.scene(row)], world.pixels).masks[0] for row in map(int, rows)}
        self.world = world
        self.pairs: list[tuple[_Shown, _Shown]] = []
        self.points: list[np.ndarray] = []
        for pair in _pairs(world, rows):
            where = np.stack([located(each.thing) for each in pair], 1)
            both = [_within(seen[e.row][e.thing_index], where[:, k]) for k, e in enumerate(pair)]
            if (both[0] & both[1]).any():
                self.pairs.append(pair)
                self.points.append(where[both[0] & both[1]])
        later = [second for _, second in self.pairs]
        self.ids = world.ids[[e.row for e in later]] * PER_ROW + np.array(
            [e.thing_index for e in later], np.int64
        )
        self.kinds = ["same way" if a.thing.facing == b.thing.facing else "mirrored" for a, b in self.pairs]
        self.attribution = world.attribution

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 2 3 H W"]:
        scenes = [self.world.scene(each.row) for position in positions for each in self.pairs[position]]
        shown = pictures(scenes, self.world.pixels)
        return shown.view(len(positions), 2, *shown.shape[1:])


def located(thing: Thing) -> Float[np.ndarray, "points 2"]:
    """Return the places of the `LATTICE` points of a thing in a picture, as (x, y) in [0, 1].

    >>> located(Thing("cat", None, "small", 200, 300, 500))[0].round(3).tolist()
    [0.22, 0.42]
    """
    left, top, _, _ = thing.box
    on = LATTICE.copy()
    if thing.facing == "right":
        on[:, 0] = 1 - on[:, 0]
    return (np.array([left, top]) + on * thing.side) / UNIT


def _pairs(world: SceneRows, rows: Rows) -> Iterator[tuple[_Shown, _Shown]]:
    last: dict[tuple[str, int], _Shown] = {}
    for row in map(int, rows):
        scene = world.scene(row)
        counts = scene.counts()
        for index, thing in enumerate(scene):
            if counts[thing.concept] > 1:
                continue
            this, key = _Shown(row, index, thing), (thing.concept, thing.artist)
            if key in last:
                yield last[key], this
            last[key] = this


def _within(mask: Bool[np.ndarray, "H W"], points: Float[np.ndarray, "k 2"]) -> Bool[np.ndarray, " k"]:
    """Return whether the pixel of each point lies in a mask."""
    size = mask.shape[0]
    x, y = np.clip((points * size).astype(int), 0, size - 1).T
    return mask[y, x]
