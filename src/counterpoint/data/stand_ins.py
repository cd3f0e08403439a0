"""Rows that stand in for others, whose pictures break while a model trains: deleted, cut short, written anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from jaxtyping import UInt8
from torch import Tensor, stack

from .base import Rows
from .pictures import why
from .replaced import Replaced


@final
class StandIns:
    """The rows whose examples are read in place of some, and their pictures; those of the last rows are remembered.

    A batch is read column by column, and what stands for a row must be the same in each. It is the next row to train
    on whose picture can be read, so a function of the row alone.

    Args:
        train: the rows to train on, in their order.
        key: what the user calls a row.
    """

    def __init__(self, train: Rows, key: Callable[[int], str]) -> None:
        self._train, self._key = train, key
        self._last: tuple[bytes, Rows, Tensor] | None = None
        self._replaced: dict[int, Replaced] = {}

    def read(
        self, rows: Rows, pictures: Callable[[Rows], UInt8[Tensor, "n 3 H W"]]
    ) -> tuple[Rows, UInt8[Tensor, "n 3 H W"]]:
        """Return the rows that stand for some, and their pictures.

        Args:
            rows: that are asked for.
            pictures: reads those of some rows.

        Raises:
            OSError: if no picture of a row to train on can be read any more.
        """
        asked = np.asarray(rows, dtype=np.int64).tobytes()
        if self._last is None or self._last[0] != asked:
            try:
                found = rows, pictures(rows)
            except Exception:  # whatever a decoder raises; which row it is of is found one by one
                each = [self._one(row, pictures) for row in rows.tolist()]
                found = np.array([row for row, _ in each]), stack([picture for _, picture in each])
            self._last = asked, *found
        return self._last[1:]

    def _one(self, row: int, pictures: Callable[[Rows], Tensor]) -> tuple[int, Tensor]:
        reason: tuple[str, str] | None = None
        start = int(np.searchsorted(self._train, row))
        for other in (row, *self._train[start + 1 :].tolist(), *self._train[:start].tolist()):
            try:
                picture = pictures(np.array([other]))[0]
            except Exception as error:  # as above
                reason = reason or (why(error), " ".join(str(error).split()))
                continue
            if reason is not None:
                self._replaced[row] = Replaced(row, self._key(row), *reason, self._key(other))
            return other, picture
        raise OSError("no picture to train on can be read any more")

    def replaced(self) -> list[Replaced]:
        """Return what was replaced since this was last asked."""
        found = list(self._replaced.values())
        self._replaced.clear()
        return found
