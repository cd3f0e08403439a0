"""EmojiPairs of pictures with the same emoji, drawn by two artists at other places, as data for studies.

A study names the data as it names any data of a file: ``data_pairs.py:PAIRS``, and ``data_pairs.py:FEW_PAIRS`` for
smoke runs. Maps number the emoji of each picture from 1; an emoji has one number in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from torch import Tensor

from counterpoint.data.base import Rows, Splits
from counterpoint.data.pictured import PairedData
from counterpoint.raw import Maps
from counterpoint_reproductions.lab.data_kinds import emoji

OBJECTS, CELL, CELLS, SIZES = 4, 16, 3, (11, 15)
SIDE = CELLS * CELL
CLASSES = ("background", *(f"object {number}" for number in range(1, OBJECTS + 1)))
SECOND, MAP, SECOND_MAP = "second", "map", "second_map"
TRAINED, VALIDATED, TESTED = 3000, 64, 2000
ALIKE, APART = "one subgroup", "any subgroups"
"""Cues: whether the candidates are of one subgroup."""


@final
class EmojiPairs(PairedData):
    """EmojiPairs of pictures, of training emoji to train on and of held-out concepts to test on.

    Args:
        part: the divisor of the numbers of rows.
    """

    name = "pairs of pictures of emoji"

    def __init__(self, part: int = 1) -> None:
        self.columns: Mapping[str, str] = {
            "image": "image",
            SECOND: "image",
            MAP: "map",
            SECOND_MAP: "map",
        }
        counts = [max(count // part, 16) for count in (TRAINED, VALIDATED, TESTED)]
        self.ids = np.arange(sum(counts))
        train, validation, test = np.split(self.ids, np.cumsum(counts)[:-1])
        self.splits = Splits(train, {"held out": validation}, {"held out": test})
        self._trained = counts[0]
        self.subsets = np.where(self.ids % 2, ALIKE, APART)

    def chosen(self, row: int) -> Int[np.ndarray, " k"]:
        """Return the emoji of a row; in every other row they are of one subgroup."""
        rng = np.random.default_rng([row, 3])
        groups = _by_subgroup(row < self._trained)
        pool = groups[int(rng.integers(len(groups)))] if row % 2 else np.concatenate(groups)
        return rng.choice(pool, OBJECTS, replace=False)

    def draw(self, row: int, second: bool) -> tuple[UInt8[Tensor, "3 H W"], UInt8[Tensor, "H W"]]:
        """Draw one picture of a row, and the map of its emoji, which lie in cells that are drawn anew."""
        rng = np.random.default_rng([row, int(second)])
        picture = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
        objects = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
        first_artist = len(emoji().table)
        cells = rng.choice(CELLS * CELLS, OBJECTS, replace=False).tolist()
        for number, (which, cell) in enumerate(zip(self.chosen(row), cells, strict=True), 1):
            size = int(rng.integers(SIZES[0], SIZES[1] + 1))
            down, right = (int(at) for at in rng.integers(CELL - size + 1, size=2))
            shown = emoji().images(np.array([which + first_artist * second])).float()
            small = F.interpolate(shown, (size, size), mode="area")[0].to(torch.uint8)
            top, left = cell // CELLS * CELL + down, cell % CELLS * CELL + right
            picture[:, top : top + size, left : left + size] = small
            objects[top : top + size, left : left + size] = number
        return picture, objects

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        return torch.stack([self.draw(row, False)[0] for row in rows.tolist()])

    def captions(self, row: int) -> Sequence[str]:
        return [", ".join(emoji().captions(int(which))[0] for which in self.chosen(row))]

    def read(self, column: str, rows: Rows) -> Any:
        drawn = [self.draw(row, column in (SECOND, SECOND_MAP)) for row in rows.tolist()]
        if column in (MAP, SECOND_MAP):
            return Maps(torch.stack([objects for _, objects in drawn]), CLASSES)
        return torch.stack([picture for picture, _ in drawn])

    def read_training(self, column: str, rows: Rows) -> Any:
        return self.read(column, rows)


@lru_cache(maxsize=2)
def _by_subgroup(training: bool) -> list[Int[np.ndarray, " n"]]:
    """Return emoji of the first artist, by subgroups that have enough of them; training's or held-out concepts."""
    count = len(emoji().table)
    rows = emoji().splits.train if training else emoji().splits.test["unseen"] - count
    values = emoji().labels["subgroup"].values[rows]
    groups = [rows[values == number] for number in np.unique(values)]
    return [group for group in groups if len(group) >= OBJECTS]


PAIRS, FEW_PAIRS = EmojiPairs(), EmojiPairs(100)
