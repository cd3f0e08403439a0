"""Two rows of numbers with a label that both decide, as data for studies of operators that join them.

Each row hides one bit: its numbers are noise but for one random direction, along which the bit moves them. A study
names the data as it names any data of a file:

- ``exclusive.py:EXCLUSIVE``: the label is the exclusive or of the two bits, which no sum of two functions tells.
- ``exclusive.py:MIXED``: the same, where the first row has already met the second: it hides the exclusive or in
  place of its bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.labels import Classes
from counterpoint.raw import Table
from counterpoint.registry import unknown

LABEL = "exclusive or"
NUMBERS, SHIFT = 16, 2.5
TRAIN, VALIDATE, TEST = 4000, 500, 4000


@final
class Exclusive(Data):
    """Pairs of rows, and whether exactly one of their bits is set.

    Args:
        mixed: whether the first row shows the exclusive or, too.
    """

    columns: Mapping[str, str] = MappingProxyType({"first": "table", "second": "table"})

    def __init__(self, mixed: bool) -> None:
        self.name = "exclusive or, mixed before" if mixed else "exclusive or"
        rng = np.random.default_rng(0)
        train, validation, test = np.split(np.arange(TRAIN + VALIDATE + TEST), (TRAIN, TRAIN + VALIDATE))
        self.ids = np.arange(TRAIN + VALIDATE + TEST)
        self.splits = Splits(train, {"held out": validation}, {"held out": test})
        bits = rng.integers(0, 2, (len(self.ids), 2))
        exclusive = bits[:, 0] ^ bits[:, 1]
        self.labels = {LABEL: Classes(("no", "yes"), exclusive)}
        shown = {"first": exclusive if mixed else bits[:, 0], "second": bits[:, 1]}
        self.cells = {column: hidden(of, rng) for column, of in shown.items()}

    def read(self, column: str, rows: Rows) -> Table:
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        names = tuple(f"number {index}" for index in range(NUMBERS))
        return Table(self.cells[column][torch.from_numpy(rows)], names, ((),) * NUMBERS)


def hidden(bits: Int[np.ndarray, " N"], rng: np.random.Generator) -> Float[Tensor, "N numbers"]:
    """Return normal numbers that bits move along one direction, by ``SHIFT`` standard deviations either way."""
    direction = rng.normal(size=NUMBERS)
    direction /= np.linalg.norm(direction)
    moved = rng.normal(size=(len(bits), NUMBERS)) + SHIFT * (2 * bits[:, None] - 1) * direction
    return torch.from_numpy(moved).float()


EXCLUSIVE = Exclusive(mixed=False)
MIXED = Exclusive(mixed=True)
