"""Views that show the same of a row every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from ..networks.base import Tower
from ..networks.memory import Kept, Memory


@final
class Steady:
    """A view that shows the same of a row every time: drawn once, and from then on known by its digest.

    Args:
        tower: that it is for, with a memory.
    """

    def __init__(self, tower: Tower) -> None:
        assert isinstance(tower.memory, Memory)
        self._tower, self._memory = tower, tower.memory
        self._known: dict[int, Tensor] = {}

    def __call__(self, rows: Sequence[int], draw: Callable[[list[int]], Tensor]) -> Kept:
        """Return what the tower takes in place of the rows' inputs.

        Args:
            rows: of the data.
            draw: gives the inputs of those that were never drawn.
        """
        new = [row for row in rows if row not in self._known]
        if new:
            self._known |= zip(new, self._memory.keep(self._tower, draw(new)), strict=True)
        return torch.stack([self._known[row] for row in rows]).as_subclass(Kept)
