"""Emoji as two artists draw them, and their names, of which some to train on are another's, as data for studies.

A study names the data as it names any data of a file: ``triplets.py:WRONG``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, final

import numpy as np
from jaxtyping import Bool

from counterpoint.data.base import Data, Rows
from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint.registry import unknown

SHARE = 0.3
"""Share of the training rows of which one partner is another's, in `WRONG`."""
HUB, DRAWN, NAME = "image", "drawn", "text"


@final
class Triplets(Data):
    """A picture, the other artist's picture of the same emoji, and its name.

    Of the training rows that have a wrong partner half have another's second picture, and half another's name.

    Args:
        share: of the training rows that have one.

    Attributes:
        sources: of each partner, the row that it is taken from.
        clean: rows whose partners are both their own.
    """

    columns: Mapping[str, str] = MappingProxyType({HUB: "image", DRAWN: "image", NAME: "text"})

    def __init__(self, share: float) -> None:
        self.emoji = Emoji()
        self.name = f"emoji by two artists, a partner of {share:.0%} wrong"
        self.ids, self.splits, self.subsets = self.emoji.ids, self.emoji.splits, self.emoji.subsets
        self.labels, self.attribution = self.emoji.labels, self.emoji.attribution
        rng = np.random.default_rng(43)
        train = self.splits.train
        wrong = rng.permutation(train)[: round(share * len(train))]
        self.sources = {column: np.arange(len(self.ids)) for column in (DRAWN, NAME)}
        for column, rows in zip((DRAWN, NAME), np.array_split(wrong, 2), strict=True):
            self.sources[column][rows] = np.roll(rows, 1)  # of rows in an order of chance, the one before
        self.clean: Bool[np.ndarray, " N"] = ~np.isin(np.arange(len(self.ids)), wrong)

    def read(self, column: str, rows: Rows) -> Any:
        if column == HUB:
            return self.emoji.images(rows)
        if column not in self.sources:
            raise unknown(f"column of {self.name}", column, self.columns)
        others = self.sources[column][rows]
        return self.emoji.shifts()["artist"](others) if column == DRAWN else self.emoji.read("text", others)

    def read_training(self, column: str, rows: Rows) -> Any:
        if column != NAME:
            return self.read(column, rows)
        return [self.emoji.captions(int(row)) for row in self.sources[NAME][rows]]

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        return self.read(column, np.array([row]))


WRONG = Triplets(SHARE)
