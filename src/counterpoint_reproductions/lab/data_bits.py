"""Both halves of recordings of people in motion, with channels of random signs that they share, as data for studies.

A study names them as it names any data of a file: ``bits.py:NONE``, ``bits.py:FOUR`` and ``bits.py:EIGHT``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, final

import numpy as np
import torch

from counterpoint.data.base import Data, Rows
from counterpoint.data.labels import Classes
from counterpoint.data.synthetic.motions.world import Motions
from counterpoint.raw import Series
from counterpoint.registry import unknown

DEVICE = "wrist"
HALVES = ("first half", "second half")
MOST = 8
ACTIVITY, FIRST_BIT = "activity", "first_bit"
"""Labels: the activity, and the sign of the first of the channels."""


@final
class Signed(Data):
    """Halves of what a device measured, with some more channels, each +1 or −1 all the time.

    Signs are drawn by chance, once for each recording. Where there are fewer channels they are the first of those that
    there are where there are more.
    """

    columns: Mapping[str, str] = MappingProxyType(dict.fromkeys(HALVES, "series"))

    def __init__(self, world: Motions, bits: int) -> None:
        self.world, self.name = world, f"{world.name} and {bits} bits"
        self.ids, self.splits = world.ids, world.splits
        self.drawn = np.random.default_rng(6).integers(0, 2, (len(world), MOST))[:, :bits]

    @cached_property
    def labels(self) -> Mapping[str, Classes]:
        bits = {FIRST_BIT: Classes(("−1", "+1"), self.drawn[:, 0])} if self.drawn.shape[1] else {}
        return {ACTIVITY: self.world.classes[ACTIVITY], **bits}

    @cached_property
    def _recordings(self) -> Series:
        return self.world.read(DEVICE, np.arange(len(self)))  # few, of which every epoch has all again

    def read(self, column: str, rows: Rows) -> Any:
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        whole = self._recordings
        half = whole.measured.chunk(2, 1)[HALVES.index(column)][torch.from_numpy(rows)]
        signs = torch.from_numpy(2.0 * self.drawn[rows, None]).float().expand(-1, half.shape[1], -1) - 1
        names = (f"bit {number}" for number in range(1, 1 + signs.shape[2]))
        return Series(torch.cat([half, signs], 2), (*whole.channels, *names))


_MOTIONS = Motions.parse(
    "motions:basic,steps=80,changes=0,turned=0,noise=0.5,train=1000,validation=100,test=500"
)
NONE, FOUR, EIGHT = (Signed(_MOTIONS, bits) for bits in (0, 4, MOST))
