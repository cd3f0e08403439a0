"""Tasks one after another: batches of the first alone, then of the second, and never of an earlier one again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

from ..types import Batch, Clock
from .loader import Loader


@final
class Stream:
    """Batches from one loader after another, each for an equal share of a run's steps.

    What a method learned of a task it must keep without its data. The last step of every task but the last is
    marked (``clock.ends_task``), for methods that keep something of themselves from one to the next.

    Args:
        loaders: of each task, in their order, alike in everything but their rows.

    Raises:
        ValueError: for no loader, or batches of different sizes.
    """

    def __init__(self, loaders: Sequence[Loader]) -> None:
        sizes = [loader.batch_size for loader in loaders]
        if len(set(sizes)) != 1:
            raise ValueError(
                f"the tasks of a stream need batches of one size, got {sizes}; make batch_size at most "
                f"{min(sizes, default=0)}, the examples of the smallest task"
            )
        self.loaders, self.data = tuple(loaders), loaders[0].data
        self.batch_size, self.rank, self.world = sizes[0], loaders[0].rank, loaders[0].world

    def batch(self, step: int) -> Batch:
        """Return this rank's part of a batch of the first task."""
        return self.loaders[0].batch(step)

    def batches(self, start: int, steps: int) -> Iterator[tuple[Batch, Clock]]:
        """Yield the batches of steps ``start`` to ``steps - 1``; task t of T has those from ``t steps / T`` on."""
        count = len(self.loaders)
        for task, loader in enumerate(self.loaders):
            first, end = steps * task // count, steps * (task + 1) // count
            for batch, clock in loader.batches(max(start - first, 0), end - first):
                step = first + clock.step
                yield batch, Clock(step, steps, clock.epoch, ends_task=step == end - 1 and end < steps)
