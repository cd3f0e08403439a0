"""Rows that a search has found: where they are, and their columns when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, final

import numpy as np
import polars as pl
from jaxtyping import Float, Int


@final
class SearchResult:
    """Rows of a table that a search found for its queries; nothing is worked out before some of them are read.

    Attributes:
        table: what is known of every row.
        scores: the cosines, the largest first, ``(m, k)``.
        positions: of the rows in the table, ``(m, k)``; −1 behind the last where fewer were found.
    """

    def __init__(
        self, table: pl.DataFrame, scores: Float[np.ndarray, "m k"], positions: Int[np.ndarray, "m k"]
    ) -> None:
        self.table, self.scores, self.positions = table, scores, positions

    @cached_property
    def counts(self) -> Int[np.ndarray, " m"]:
        """The rows that each query found."""
        return np.asarray((self.positions >= 0).sum(1))

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The scores and columns of all rows, one query after another."""
        there = self.positions >= 0
        places = pl.Series("", self.positions[there].astype(np.uint32))
        # Column by column: for a few rows of a frame polars would wait for its threads.
        columns = [column[places] for column in self.table.get_columns()]
        return pl.DataFrame([pl.Series("score", self.scores[there].clip(-1, 1)), *columns])


@final
class Hits:
    """Rows that a search found for one query, the nearest first; iterated, a dictionary each."""

    def __init__(self, results: SearchResult, query: int) -> None:
        self._results, self._query = results, query

    @property
    def positions(self) -> Int[np.ndarray, " n"]:
        """The rows' places in the index's table."""
        return self._results.positions[self._query, : len(self)]

    @property
    def scores(self) -> Float[np.ndarray, " n"]:
        """The cosine of each with the query."""
        return self._results.scores[self._query, : len(self)].clip(-1, 1)

    @property
    def rows(self) -> pl.DataFrame:
        """``score`` and the columns of the table."""
        return self._results.frame.slice(int(self._results.counts[: self._query].sum()), len(self))

    def __len__(self) -> int:
        return int(self._results.counts[self._query])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.rows.iter_rows(named=True)
