"""Rows that stand in for others, whose files break while a model trains: deleted, cut short, written anew."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, final

import numpy as np

from ..base import Rows
from ..replaced import Replacement
from .columns import FileColumn


@final
class StandIns:
    """The rows whose examples are read in place of some, and what their files hold; the last ones are remembered.

    A batch is read column by column, and what stands for a row must be the same in each. It is the next row to train
    on whose files can be read in all columns that are read together, so a function of the row and of these columns.

    Args:
        train: the rows to train on, in their order.
        key: what the user calls a row.
    """

    def __init__(self, train: Rows, key: Callable[[int], str]) -> None:
        self._train, self._key = train, key
        self._last: tuple[object, Rows, Mapping[str, Any]] | None = None
        self._replaced: dict[int, Replacement] = {}

    def read(self, rows: Rows, columns: Mapping[str, FileColumn]) -> tuple[Rows, Mapping[str, Any]]:
        """Return the rows that stand for some, and what their files hold.

        Args:
            rows: that are asked for.
            columns: that are read together.

        Raises:
            OSError: if the files of no row to train on can be read any more.
        """

        def files(rows: Rows) -> dict[str, Any]:
            return {column: it.read(rows) for column, it in columns.items()}

        asked = (*columns,), np.asarray(rows, dtype=np.int64).tobytes()
        if self._last is None or self._last[0] != asked:
            try:
                found = rows, files(rows)
            except Exception:  # whatever a decoder raises; which row it is of is found one by one
                standing = np.array([self._one(row, columns.values()) for row in rows.tolist()])
                found = standing, files(standing)
            self._last = asked, *found
        return self._last[1:]

    def _one(self, row: int, columns: Collection[FileColumn]) -> int:
        reason: tuple[str, str] | None = None
        start = int(np.searchsorted(self._train, row))
        for other in (row, *self._train[start + 1 :].tolist(), *self._train[:start].tolist()):
            broken = next(filter(None, (_broken(column, other) for column in columns)), None)
            if broken is not None:
                reason = reason or broken
                continue
            if reason is not None:
                self._replaced[row] = Replacement(row, self._key(row), *reason, self._key(other))
            return other
        raise OSError("no example to train on can be read any more")

    def replaced(self) -> list[Replacement]:
        """Return what was replaced since this was last asked."""
        found = list(self._replaced.values())
        self._replaced.clear()
        return found


def _broken(column: FileColumn, row: int) -> tuple[str, str] | None:
    """Return why a row's file cannot be read, and the details; None where it can."""
    try:
        column.read(np.array([row]))
    except Exception as error:  # whatever a decoder raises
        return column.files.why(error), " ".join(str(error).split())
    return None
