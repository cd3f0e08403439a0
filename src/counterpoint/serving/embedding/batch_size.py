"""The number of rows that a device embeds at a time, found by trial."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import final

from ...reasons import counted, out_of_memory

_LEAST, _MOST = 16, 1024
_GAIN = 1.05  # a doubled batch that is not so much faster a row is not worth its memory
_LONG = 1.0  # seconds; a batch of which the device is not idle between two

_logger = logging.getLogger(__name__)


@final
class BatchSize:
    """A batch size, as the user gave it or as trials found it; halved whenever memory is used up.

    Args:
        size: of the user; found by `try_out` unless given.
    """

    def __init__(self, size: int | None = None) -> None:
        self.now, self._fixed, self._notified = size or 2 * _LEAST, size is not None, False
        self._tried: set[str] = set()

    def try_out(self, embed: Callable[[int], object], rows: int, column: str) -> None:
        """Double the batch while that makes a row faster, once a column; a size that the user gave stays.

        Args:
            embed: embeds a batch of some rows, and waits until that is done.
            rows: there are to embed; nothing is tried for few.
            column: that they are of.
        """
        if self._fixed or column in self._tried or rows < 4 * _MOST:
            return
        self._tried.add(column)
        best, size = 0.0, _LEAST
        while size <= _MOST:
            try:
                embed(size)  # whatever a device prepares for a new shape
                began = time.perf_counter()
                embed(size)
                took = time.perf_counter() - began
            except Exception as error:
                if not out_of_memory(error) or size == _LEAST:
                    raise
                return
            if size / took < _GAIN * best:
                return
            best, self.now, size = size / took, size, 2 * size
            if took > _LONG:
                return

    def halve(self, rows: int, error: Exception) -> None:
        """Take half of the batch whose rows there was no memory for; the user is told once.

        Raises:
            RuntimeError: if it was of one row.
        """
        if rows == 1:
            raise RuntimeError(
                "there is not enough memory to embed a single row: free some, or take a smaller model"
            ) from error
        self.now = max(min(self.now, rows) // 2, 1)
        if not self._notified:
            self._notified = True
            _logger.info(
                "there is not enough memory for %s at once: going on with fewer", counted(rows, "row")
            )
