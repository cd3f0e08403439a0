"""Rows that a search has found: where they are, and their columns when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, final

import numpy as np
import polars as pl
from jaxtyping import Float, Int


@final
class Rows:
    """Rows of a table for all queries of a search, whose columns are taken when some are first asked for."""

    def __init__(
        self, table: pl.DataFrame, positions: Int[np.ndarray, " n"], scores: Float[np.ndarray, " n"]
    ) -> None:
        self.table, self.positions, self.scores = table, positions, scores

    @cached_property
    def frame(self) -> pl.DataFrame:
        places = pl.Series("", self.positions.astype(np.uint32))
        # Column by column: for a few rows of a frame polars would wait for its threads.
        columns = [column[places] for column in self.table.get_columns()]
        return pl.DataFrame([pl.Series("score", self.scores), *columns])


@final
class Hits:
    """Rows that a search found, the nearest first; iterated, a dictionary each.

    Attributes:
        positions: of the rows in the index's table, ``(n,)``.
        scores: the cosine of each with the query, ``(n,)``.
    """

    def __init__(self, rows: Rows, start: int, end: int) -> None:
        self._rows, self._start, self._end = rows, start, end
        self.positions, self.scores = rows.positions[start:end], rows.scores[start:end]

    @property
    def rows(self) -> pl.DataFrame:
        """``score`` and the columns of the table."""
        return self._rows.frame[self._start : self._end]

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.rows.iter_rows(named=True)
