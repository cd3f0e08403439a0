"""Orders in which a sampler says what comes, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

import numpy as np
from jaxtyping import Int

from ..base import Rows
from .mixed import counts_of, interleave
from .order import Epochs, Order
from .samplers import Classes, Sampler, occurrences

STREAM = "stream"
"""The label of a row that says which stream brought it, where there are several."""

# Where in what an epoch is to a view the number of a row that comes again stands, and that of a stream.
_AGAIN, _APART = 32, 48


@final
class SampledOrder(Order):
    """An order by a sampler: some rows may come several times an epoch, others never.

    A row that comes again in an epoch is seen in another way each time. The batches of one epoch are kept.

    Args:
        rows: to train on.
        classes: of these rows, −1 for none; or their tags.
        sampler: see `counterpoint.data.loading.samplers`.
        batch_size: rows of a step; all rows, where there are fewer. With ``classes:K`` whole classes make the batch.
        seed: of all draws.

    Raises:
        ValueError: for rows of which the sampler can make no batch.

    >>> order = SampledOrder(np.arange(8), np.array([0, 0, 0, 0, 0, 0, 1, 1]), Sampler("classes", 2), 4, seed=0)
    >>> sorted(order.at(0)[0].tolist())[2:]
    [6, 7]
    """

    def __init__(self, rows: Rows, classes: Classes, sampler: Sampler, batch_size: int, seed: int) -> None:
        self._rows, self._classes, self.sampler, self.seed = rows, classes, sampler, seed
        self.batch_size = sampler.batch(min(batch_size, len(rows)))
        self._last: tuple[int, Int[np.ndarray, "steps batch"], Rows] | None = None
        self.examples = self._epoch(0)[0].size

    def at(self, step: int, steps: int | None = None) -> tuple[Rows, Epochs]:
        epoch, position = divmod(step, self.steps_per_epoch)
        batches, again = self._epoch(epoch)
        size = self.batch_size
        seen = epoch + (again[position * size : (position + 1) * size] << _AGAIN)
        return self._rows[batches[position]], seen

    def rows(self, step: int, steps: int) -> Rows:
        return self._rows

    def settings(self) -> dict[str, Any]:
        return {
            "order": "sampled",
            "sampler": str(self.sampler),
            "rows": len(self._rows),
            "classes": self._counts(),
            "batch_size": self.batch_size,
            "seed": self.seed,
        }

    def _counts(self) -> list[int]:
        """Return the rows of none and of each class; or of each tag."""
        if self._classes.ndim > 1:
            return [int(count) for count in (self._classes == 1).sum(0)]
        return [int(count) for count in np.bincount(self._classes + 1)]

    def _epoch(self, epoch: int) -> tuple[Int[np.ndarray, "steps batch"], Rows]:
        """Return the batches of an epoch, and how often each of their rows came before in it."""
        if self._last is None or self._last[0] != epoch:
            batches = self.sampler.epoch(self._classes, self.batch_size, self.seed, epoch)
            self._last = epoch, batches, occurrences(batches.ravel())
        return self._last[1:]


@final
class Streams(Order):
    """Several orders of the same rows at once: each has its share of every batch, spread evenly over it.

    The label ``stream`` of a row is the number of the order that brought it.

    Args:
        orders: whose batches together make one.

    >>> rows, classes = np.arange(8), np.array([0, 0, 0, 0, 0, 0, 1, 1])
    >>> order = Streams.of(rows, classes, (Sampler("natural"), Sampler("balanced")), 4, seed=0)
    >>> order.labels(rank=0, world=1)
    {'stream': array([0, 1, 0, 1])}
    """

    def __init__(self, *orders: SampledOrder) -> None:
        self.orders, self.seed = orders, orders[0].seed
        self._places = interleave([order.batch_size for order in orders])
        self.batch_size = len(self._places)
        self.examples = max(len(order.rows(0, 1)) for order in orders)

    @classmethod
    def of(
        cls, rows: Rows, classes: Classes, samplers: tuple[Sampler, ...], batch_size: int, seed: int
    ) -> Self:
        """Return streams that share a batch equally; see `SampledOrder` for what is given and for errors."""
        sizes = counts_of([1.0] * len(samplers), min(batch_size, len(rows)))
        return cls(
            *(
                SampledOrder(rows, classes, sampler, size, seed + number)
                for number, (sampler, size) in enumerate(zip(samplers, sizes, strict=True))
            )
        )

    def at(self, step: int, steps: int | None = None) -> tuple[Rows, Epochs]:
        rows, seen = (np.empty(self.batch_size, dtype=np.int64) for _ in range(2))
        for number, order in enumerate(self.orders):
            mine = self._places == number
            rows[mine], epochs = order.at(step, steps)
            seen[mine] = epochs + (number << _APART)
        return rows, seen

    def labels(self, rank: int, world: int) -> Mapping[str, Rows]:
        return {STREAM: np.array_split(self._places, world)[rank]}

    def rows(self, step: int, steps: int) -> Rows:
        return self.orders[0].rows(step, steps)

    def settings(self) -> dict[str, Any]:
        return {"order": "streams", "streams": [order.settings() for order in self.orders]}
