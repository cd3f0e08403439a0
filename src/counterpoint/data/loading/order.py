"""Orders of training examples: a step's rows follow from the seed and the step alone, so that nothing is ever saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, final

import numpy as np
from jaxtyping import Int

from ...types import StepInfo
from ..base import Rows

Epochs = int | Int[np.ndarray, " n"]
"""Epoch of a batch, or of each of its rows: what tells one look at a row from the next one."""

WINDOW = 8192
"""Records of a lane that are shuffled together unless another number is given."""

_FEWEST = 64  # records of a batch that make a lane worth having
_MOST_LANES = 64


class Order(ABC):
    """An order in which the rows to train on come: a pure function of the seed and the step.

    Every row comes once an epoch, but for those of the last, incomplete batch, which are others in every epoch. The
    global batch is the same for every number of ranks and of worker processes.

    Attributes:
        batch_size: rows of a step over all ranks.
        examples: rows that there are; of tasks in turn, those of the smallest.
        seed: of the order, and of the views of a loader that follows it.
        steps_per_epoch: complete batches of an epoch.
    """

    batch_size: int
    examples: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return self.examples // self.batch_size

    @abstractmethod
    def at(self, step: int, steps: int | None = None) -> tuple[Rows, Epochs]:
        """Return the rows of a step's global batch, and its epoch, or that of each row.

        Args:
            step: from 0; it may lie in any epoch.
            steps: of the whole run, which tasks in turn are shares of; the first task has every step unless given.
        """

    def part(self, step: int, rank: int, world: int, steps: int | None = None) -> tuple[Rows, Epochs]:
        """Return a rank's rows of a step: the consecutive part of the global batch that is its turn; and the epoch."""
        rows, epoch = self.at(step, steps)
        if isinstance(epoch, np.ndarray):
            epoch = np.array_split(epoch, world)[rank]
        return np.array_split(rows, world)[rank], epoch

    def labels(self, rank: int, world: int) -> Mapping[str, Rows]:
        """Return what the order says of a rank's rows of every batch, as labels by name; nothing unless it says so."""
        return {}

    def shards_of(self, step: int, rank: int, world: int) -> list[int]:
        """Return the shards that a rank reads around a step, soonest first; none of data that is read at random."""
        return []

    @abstractmethod
    def rows(self, step: int, steps: int) -> Rows:
        """Return all rows that a step's batch is drawn from, in the order of the data."""

    def clock(self, step: int, steps: int) -> StepInfo:
        """Return the position of a step in a run."""
        return StepInfo(step, steps, step // self.steps_per_epoch)

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what the order is made of, for the folder of a run: two that say the same are the same."""


@final
class ShuffledOrder(Order):
    """A permutation of all rows, another in every epoch: for what can be read at random.

    It takes eight bytes a row.

    Args:
        rows: to train on.
        batch_size: rows of a step; all rows, where there are fewer.
        seed: of the permutations.

    >>> order = ShuffledOrder(np.arange(10), batch_size=4, seed=0)
    >>> [order.at(step)[0].tolist() for step in range(2)]
    [[4, 6, 2, 7], [3, 5, 9, 0]]
    """

    def __init__(self, rows: Rows, batch_size: int, seed: int) -> None:
        self._rows, self.examples, self.seed = rows, len(rows), seed
        self.batch_size = min(batch_size, len(rows))

    def rows(self, step: int, steps: int) -> Rows:
        return self._rows

    def at(self, step: int, steps: int | None = None) -> tuple[Rows, Epochs]:
        epoch, position = divmod(step, self.steps_per_epoch)
        order = _permutation(self.seed, epoch, len(self._rows))
        return self._rows[order[position * self.batch_size : (position + 1) * self.batch_size]], epoch

    def settings(self) -> dict[str, Any]:
        return {"order": "shuffled", "rows": self.examples, "batch_size": self.batch_size, "seed": self.seed}


@lru_cache(maxsize=8)
def _permutation(seed: int, epoch: int, count: int) -> Rows:
    """Return the permutation of an epoch, which all of its steps share."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    order.flags.writeable = False
    return order


@final
class WindowedOrder(Order):
    """An order for what lies in many shards: few are read at a time, and each from its first record to its last.

    In every epoch the shards are permuted, and their records make one line. The line is cut into ``lanes`` equal
    stretches, each of which is read from its beginning on, all at the same time; a batch takes its share of every lane,
    lane by lane. Within a window of its lane a record comes at random. So a rank reads the shards of its own lanes
    alone, and the memory is one of windows and of shards, not of records.

    Args:
        shards: how many rows each shard has; the rows are numbered through all shards.
        batch_size: rows of a step; all rows, where there are fewer.
        seed: of permutations.
        lanes: a power of two that leaves a lane 64 records of a batch, at most 64 of them, unless given.
        window: records of a lane that are shuffled together; as many as make whole shares of batches, and one at least.

    Raises:
        ValueError: if there are more lanes than rows in a batch.

    >>> order = WindowedOrder([4, 4, 4], batch_size=4, seed=0, lanes=2, window=4)
    >>> [order.at(step)[0].tolist() for step in range(3)]
    [[10, 8, 5, 3], [9, 11, 4, 2], [0, 1, 6, 7]]
    >>> order.part(0, rank=1, world=2)[0].tolist()
    [5, 3]
    """

    def __init__(
        self,
        shards: Sequence[int] | Int[np.ndarray, " S"],
        batch_size: int,
        seed: int,
        lanes: int | None = None,
        window: int = WINDOW,
    ) -> None:
        self.shards = np.asarray(shards, dtype=np.int64)
        self.examples, self.seed = int(self.shards.sum()), seed
        self.batch_size = min(batch_size, self.examples)
        self.lanes = lanes or _lanes(self.batch_size)
        if self.lanes > max(self.batch_size, 1):
            raise ValueError(
                f"a batch of {self.batch_size} cannot take a share of each of {self.lanes} lanes; make batch_size "
                "larger, or the lanes fewer"
            )
        self.window = window
        self._firsts = self.shards.cumsum() - self.shards
        # Where a lane's share of a batch begins; it is as much of the line as of the batch.
        self._edges = np.arange(self.lanes + 1) * self.batch_size // self.lanes
        self._steps = max(window * self.lanes // max(self.batch_size, 1), 1)  # that a window lasts
        self._line: tuple[int, Rows, Rows] | None = None
        self._windows: dict[int, tuple[int, int, Rows]] = {}

    def at(self, step: int, steps: int | None = None) -> tuple[Rows, Epochs]:
        return self.part(step, 0, 1, steps)

    def part(self, step: int, rank: int, world: int, steps: int | None = None) -> tuple[Rows, Epochs]:
        epoch, position = divmod(step, self.steps_per_epoch)
        start, end = _share(self.batch_size, rank, world)
        rows = []
        for lane in range(self.lanes):
            first, last = (int(edge) for edge in self._edges[lane : lane + 2])
            if first < end and start < last:
                number, within = divmod(position, self._steps)
                drawn = self._drawn(epoch, lane, number)
                share = drawn[within * (last - first) : (within + 1) * (last - first)]
                rows.append(share[max(start - first, 0) : end - first])
        return np.concatenate(rows), epoch

    def rows(self, step: int, steps: int) -> Rows:
        return np.arange(self.examples)

    def settings(self) -> dict[str, Any]:
        return {
            "order": "windowed",
            "rows": self.examples,
            "shards": len(self.shards),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "lanes": self.lanes,
            "window": self.window,
        }

    def shards_of(self, step: int, rank: int, world: int) -> list[int]:
        """Return the shards that a rank reads in the window of a step and in the one behind it, soonest first."""
        epoch, position = divmod(step, self.steps_per_epoch)
        start, end = _share(self.batch_size, rank, world)
        lanes = [k for k in range(self.lanes) if self._edges[k] < end and start < self._edges[k + 1]]
        order, ends = self._of(epoch)
        shards: dict[int, None] = {}
        for number in (position // self._steps, position // self._steps + 1):
            for lane in lanes:
                begin, size = self._stretch(lane, number)
                if size > 0:
                    within = np.searchsorted(ends, [begin, begin + size - 1], side="right")
                    shards |= dict.fromkeys(order[within[0] : within[1] + 1].tolist())
        return [shard for shard in shards if self.shards[shard]]

    def _stretch(self, lane: int, number: int) -> tuple[int, int]:
        """Return where in the line a window of a lane begins, and how many records it has."""
        share = int(self._edges[lane + 1] - self._edges[lane])
        first, last = number * self._steps, min((number + 1) * self._steps, self.steps_per_epoch)
        return int(self._edges[lane]) * self.steps_per_epoch + first * share, (last - first) * share

    def _drawn(self, epoch: int, lane: int, number: int) -> Rows:
        """Return the rows of a window of a lane in the order in which they come; the last one of every lane is kept."""
        kept = self._windows.get(lane)
        if kept is not None and kept[:2] == (epoch, number):
            return kept[2]
        begin, size = self._stretch(lane, number)
        draws = np.random.default_rng([self.seed, epoch, lane, number])
        rows = self._rows(epoch, begin + draws.permutation(size))
        self._windows[lane] = epoch, number, rows
        return rows

    def _rows(self, epoch: int, positions: Int[np.ndarray, " n"]) -> Rows:
        """Return the rows at some places of an epoch's line."""
        order, ends = self._of(epoch)
        within = np.searchsorted(ends, positions, side="right")
        shards = order[within]
        return self._firsts[shards] + positions - (ends[within] - self.shards[shards])

    def _of(self, epoch: int) -> tuple[Rows, Rows]:
        """Return the shards of an epoch in their order, and where in the line each ends."""
        if self._line is None or self._line[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.shards))
            self._line = epoch, order, self.shards[order].cumsum()
        return self._line[1:]


def _lanes(batch_size: int) -> int:
    """Return the largest power of two of which every one has enough of a batch."""
    return min(1 << max(batch_size // _FEWEST, 1).bit_length() - 1, _MOST_LANES)


def _share(size: int, rank: int, world: int) -> tuple[int, int]:
    """Return where a rank's part of a batch begins and ends; the first ranks have one more where it does not divide."""
    each, more = divmod(size, world)
    start = rank * each + min(rank, more)
    return start, start + each + (rank < more)


@final
class SequentialOrder(Order):
    """Tasks one after another: batches of the first alone, then of the second, and never of an earlier one again.

    Each has an equal share of a run's steps. What a method learned of a task it must keep without its data. The last
    step of every task but the last is marked (``clock.ends_task``), for methods that keep something of themselves from
    one to the next.

    Args:
        tasks: the order of each, in their order.

    Raises:
        ValueError: for no task, or batches of different sizes.
    """

    def __init__(self, tasks: Sequence[Order]) -> None:
        sizes = [task.batch_size for task in tasks]
        if len(set(sizes)) != 1:
            raise ValueError(
                f"the tasks of a stream need batches of one size, got {sizes}; make batch_size at most "
                f"{min(sizes, default=0)}, the examples of the smallest task"
            )
        self.tasks, self.batch_size, self.seed = tuple(tasks), sizes[0], tasks[0].seed
        self.examples = min(task.examples for task in tasks)

    def at(self, step: int, steps: int | None = None) -> tuple[Rows, Epochs]:
        task, first, _ = self._task(step, steps)
        return task.at(step - first)

    def rows(self, step: int, steps: int) -> Rows:
        task, first, end = self._task(step, steps)
        return task.rows(step - first, end - first)

    def clock(self, step: int, steps: int) -> StepInfo:
        task, first, end = self._task(step, steps)
        epoch = (step - first) // task.steps_per_epoch
        return StepInfo(step, steps, epoch, ends_task=step == end - 1 and end < steps)

    def _task(self, step: int, steps: int | None) -> tuple[Order, int, int]:
        """Return the task of a step, its first step and the first that is not its own."""
        if steps is None:
            return self.tasks[0], 0, step + 1
        ends = [steps * number // len(self.tasks) for number in range(len(self.tasks) + 1)]
        return next((task, *of) for task, of in zip(self.tasks, pairwise(ends), strict=True) if step < of[1])

    def settings(self) -> dict[str, Any]:
        return {"order": "in turn", "tasks": [task.settings() for task in self.tasks]}
