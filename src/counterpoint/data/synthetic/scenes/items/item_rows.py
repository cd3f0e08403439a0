"""The steps that every form of item about scenes shares: find the rows that have something, and draw their pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Int, UInt8
from torch import Tensor

from ....base import Rows
from ....rng import Rng
from ..config import SceneConfig
from ..pixels.render import pictures
from ..rows import SceneRows
from ..scene import Scene

T = TypeVar("T")

PER_ROW = 64
"""Items of a row at most: their ids start at a multiple of it."""


def ask_rows(
    world: SceneRows,
    rows: Rows,
    kinds: Sequence[str],
    ask: Callable[[str, Scene, Rng, SceneConfig], T | None],
    scene_of: Callable[[int], Scene] | None = None,
) -> Iterator[tuple[int, str, T]]:
    """Yield each row's kind and what is asked, of rows whose scenes have something for any of the kinds.

    Args:
        world: of the rows.
        rows: of the world.
        kinds: that may be asked.
        ask: a question of a kind about a scene.
        scene_of: the scene that is asked about; the row's own unless given.
    """
    scene_of = scene_of or world.scene
    for row in map(int, rows):
        draws = world.draws(row)
        for kind in draws.sample("kind of item", kinds, len(kinds)):
            item = ask(kind, scene_of(row), Rng(draws.word("item"), 0, kind), world.config(row))
            if item:
                yield row, kind, item
                break


class RowPictures:
    """Pictures of items that are each about a row: as it is composed, also where training does without it.

    Attributes:
        world: of the rows.
        rows: of the world, one an item.
    """

    world: SceneRows
    rows: Int[np.ndarray, " n"]

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k *n 3 H W"]:
        return pictures([self.world.scene(int(row)) for row in self.rows[positions]], self.world.pixels)
