"""Sums of two numbers mod 31 as data for studies: a share of the pairs to train on, and the others to test.

A study names the data as it names any data of a file: ``sums.py:HALF`` and ``sums.py:MOST``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import final

import numpy as np
import torch

from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.labels import Classes
from counterpoint.raw import Table
from counterpoint.registry import unknown

MODULUS, LABEL = 31, "sum"
_NUMBERS = tuple(f"{number:02d}" for number in range(MODULUS))
_VALIDATED = MODULUS**2 // 10


@final
class Sums(Data):
    """All pairs of numbers below 31, rows of two categories, and what they add up to mod 31.

    The pairs to train on are drawn once: the same under every seed of a study.

    Args:
        share: of the pairs, to train on; a tenth of all validates, and the others test.
    """

    columns: Mapping[str, str] = MappingProxyType({"pair": "table"})

    def __init__(self, share: float) -> None:
        self.name = f"sums mod {MODULUS}, {share:.0%} of the pairs"
        pairs = np.stack(np.divmod(np.arange(MODULUS**2), MODULUS), 1)
        order = np.random.default_rng(0).permutation(len(pairs))
        train, test, validation = np.split(order, (round(share * len(pairs)), len(pairs) - _VALIDATED))
        self.ids = np.arange(len(pairs))
        self.splits = Splits(train, {"held out": validation}, {"held out": test})
        self.labels = {LABEL: Classes(_NUMBERS, pairs.sum(1) % MODULUS)}
        self.pairs = torch.from_numpy(pairs).float()

    def read(self, column: str, rows: Rows) -> Table:
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        return Table(self.pairs[torch.from_numpy(rows)], ("a", "b"), (_NUMBERS, _NUMBERS))


HALF, MOST = Sums(0.5), Sums(0.75)
