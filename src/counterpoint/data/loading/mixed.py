"""The order of examples from several sources: each has a fixed share of every batch, or of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Int

from ..base import Rows, Splits
from .order import Epochs, Order, ShuffledOrder

_APART = 1_000_003  # between the seeds of two sources


def interleave(counts: Sequence[int]) -> Int[np.ndarray, " n"]:
    """Return which source each place of a batch is of, all of them spread evenly over it.

    >>> interleave([4, 2]).tolist()
    [0, 1, 0, 0, 1, 0]
    """
    source = np.repeat(np.arange(len(counts)), counts)
    within = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts])
    return source[np.lexsort((source, within))]


def counts_of(shares: Sequence[float], batch_size: int) -> list[int]:
    """Return how many rows of a batch each source has: its share, rounded so that they make the batch.

    >>> counts_of([0.5, 0.25, 0.25], 6)
    [3, 2, 1]

    Raises:
        ValueError: for a batch in which a source would have no row.
    """
    # The ends of the shares are rounded, and not the shares, so that the counts add up.
    ends = np.rint(np.cumsum(shares) / sum(shares) * batch_size + 1e-9).astype(int)
    counts: list[int] = np.diff(ends, prepend=0).tolist()
    if min(counts) < 1:
        number = counts.index(min(counts))
        raise ValueError(
            f"a batch of {batch_size} has no place for a share of {shares[number]:g}: make batch_size larger, or "
            "the share"
        )
    return counts


@final
class Mixture(Order):
    """An order that mixes sources: rows of each come in an order of their own, and come round as often as need be.

    With ``by="batch"`` a batch has the same number of rows of each source, spread evenly over it, so that ranks get
    their parts of each. With ``by="steps"`` a batch is of one source, and as many steps are of each as a batch would
    have rows. An epoch is as many examples as there are.

    Args:
        sources: the rows to train on of each.
        shares: of each, in the same order.
        batch_size: rows of a step; all rows, where there are fewer.
        seed: of the orders.
        by: the way to mix.

    Raises:
        ValueError: for a source without a row in a batch, or with fewer rows to train on than a batch takes of it.

    >>> order = Mixture([np.arange(10), np.arange(10, 20)], [0.75, 0.25], batch_size=4, seed=0)
    >>> [order.at(step)[0].tolist() for step in range(2)]
    [[4, 6, 16, 2], [7, 3, 10, 5]]
    """

    def __init__(
        self,
        sources: Sequence[Int[np.ndarray, " _"]],
        shares: Sequence[float],
        batch_size: int,
        seed: int,
        by: Literal["batch", "steps"] = "batch",
    ) -> None:
        self.examples, self.seed, self.by = sum(map(len, sources)), seed, by
        self.batch_size = min(batch_size, self.examples)
        counts = counts_of(shares, self.batch_size)
        sizes = counts if by == "batch" else [self.batch_size] * len(counts)
        for rows, size in zip(sources, sizes, strict=True):
            if len(rows) < size:
                raise ValueError(
                    f"a batch takes {size} rows of a source that has {len(rows)} to train on: lower its share, or "
                    "batch_size"
                )
        # Seeds of their own, lest sources of one size come in one order.
        self._orders = [
            ShuffledOrder(rows, size, seed + _APART * number)
            for number, (rows, size) in enumerate(zip(sources, sizes, strict=True))
        ]
        self._sources, self._places = tuple(sources), interleave(counts)

    @classmethod
    def of(cls, splits: Splits, rows: Rows, batch_size: int, seed: int) -> Mixture:
        """Return the order of data that is mixed.

        Args:
            splits: of the data.
            rows: those to train on; a source with none of them has no share, which the others then have.
            batch_size: rows of a step.
            seed: of the orders.

        Raises:
            ValueError: as the class says.
        """
        kept = [(of_source[np.isin(of_source, rows)], share) for of_source, share in splits.sources]
        there = [(of_source, share) for of_source, share in kept if len(of_source)]
        return cls([it for it, _ in there], [share for _, share in there], batch_size, seed, splits.by)

    def at(self, step: int, steps: int | None = None) -> tuple[Rows, Epochs]:
        # The sources come round at different times, so that the step takes the epoch's part in every draw: else a row
        # that comes twice before the others were all there would be seen in the same way.
        if self.by == "batch":
            rows = np.empty(self.batch_size, dtype=np.int64)
            for number, order in enumerate(self._orders):
                rows[self._places == number] = order.at(step)[0]
            return rows, step
        turn, position = divmod(step, len(self._places))
        number = self._places[position]
        mine = self._places == number
        return self._orders[number].at(turn * int(mine.sum()) + int(mine[:position].sum()))[0], step

    def rows(self, step: int, steps: int) -> Rows:
        """Return all rows that a step's batch is drawn from, in the order of the data."""
        return np.sort(np.concatenate(self._sources))

    def settings(self) -> dict[str, Any]:
        return {
            "order": "mixed",
            "by": self.by,
            "places": np.bincount(self._places).tolist(),
            "sources": [order.settings() for order in self._orders],
        }
