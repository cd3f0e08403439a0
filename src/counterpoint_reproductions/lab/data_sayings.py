"""Sentences about digits in two wordings, as pairs of texts; named as ``sayings.py:SAYINGS``."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from types import MappingProxyType
from typing import final

import numpy as np

from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.labels import Numbers
from counterpoint.data.synthetic.digits.world import LEANS, NAMES, STROKES
from counterpoint.registry import unknown

TESTED = 30
"""Things that test sentences say, of ninety; the others are trained on, but for some by which a run is validated."""
VALIDATED = 6


@final
class Sayings(Data):
    """A digit, its stroke and its lean as captions of `digits` say them (``first``), and in other words (``second``).

    To train on are pairs that say the same. Test pairs are all of sentences that no such pair has; their label
    ``similarity`` is how many of the three they agree in.
    """

    name = "sayings"
    columns: Mapping[str, str] = MappingProxyType({"first": "text", "second": "text"})

    def __init__(self) -> None:
        things = np.random.default_rng(3).permutation([*product(STROKES, NAMES, LEANS)])
        test, others = np.split(np.arange(len(things)), [TESTED])
        pairs = np.concatenate([np.stack([others, others], 1), [*product(test, test)]])
        self.pairs = things[pairs]
        self.ids = np.arange(len(pairs))
        validation, train, tested = np.split(self.ids, [VALIDATED, len(others)])
        self.splits = Splits(train, {"held out": validation}, {"held out": tested})
        agree = (self.pairs[:, 0] == self.pairs[:, 1]).sum(1)
        self.labels = {"similarity": Numbers(agree.astype(np.float64))}

    def read(self, column: str, rows: Rows) -> list[str]:
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        said = self.pairs[rows, [*self.columns].index(column)]
        if column == "first":
            return [f"a {stroke} {digit}, {lean}" for stroke, digit, lean in said]
        return [f"{lean}: {digit} in {stroke} strokes" for stroke, digit, lean in said]


SAYINGS = Sayings()
