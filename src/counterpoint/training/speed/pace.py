"""Pace of a run: pairs a second, the share of time that it waits for data, the time that is left."""

from __future__ import annotations

import math
import resource
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch

_PAGE = resource.getpagesize()
_WINDOW = 30.0
"""Seconds that a pace is taken over."""
_PAUSE = 20
"""A step that takes so many times as long as those before it, and longer than the window, holds a pause."""


@dataclass(frozen=True)
class Pace:
    """Pace of the last half minute.

    Attributes:
        pairs: examples a second, of all processes together; NaN before the first step.
        waiting: share of the time that this process waited for data, from 0 to 1; NaN before the first step.
        left: seconds until the last step; NaN before the first.
    """

    pairs: float = math.nan
    waiting: float = math.nan
    left: float = math.nan


@final
class Stopwatch:
    """Stopwatch of steps, and of the waiting for data within them.

    >>> times = iter([0.0, 0.0, 1.0, 4.0, 4.0, 5.0, 8.0])
    >>> watch = Stopwatch(batch=64, clock=lambda: next(times))
    >>> for _ in range(2):
    ...     watch.wait()  # until the data is asked for
    ...     watch.go()  # until it is there
    ...     pace = watch.step(left=10)
    >>> pace, watch.waited
    (Pace(pairs=16.0, waiting=0.25, left=40.0), 2.0)

    Args:
        batch: examples of a step.
        clock: seconds that have passed.
    """

    def __init__(self, batch: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.batch, self.waited, self._clock = batch, 0.0, clock
        # After every step of the window: the time, and how much of it was waited until then.
        self._ends = deque([(clock(), 0.0)])
        self._began, self._paused = 0.0, False

    def wait(self) -> None:
        """Begin to wait for data."""
        self._began = self._clock()

    def go(self) -> None:
        """Go on: the data is there."""
        self.waited += self._clock() - self._began

    def step(self, left: int) -> Pace:
        """End a step, with so many left, and return the pace.

        The time in which the process was suspended says nothing about the steps that are left. It counts neither here
        nor in the share of waiting.
        """
        now, (last, waited) = self._clock(), self._ends[-1]
        usual = (last - self._ends[0][0]) / max(len(self._ends) - 1, 1)
        # Two in a row are the new pace.
        self._paused = not self._paused and now - last > max(_WINDOW, _PAUSE * usual) and len(self._ends) > 1
        if self._paused:
            pause, idle = now - last - usual, max(self.waited - waited - usual, 0.0)
            self._ends = deque((end + pause, until + idle) for end, until in self._ends)
        ends = self._ends
        ends.append((now, self.waited))
        while len(ends) > 2 and ends[-1][0] - ends[1][0] >= _WINDOW:
            ends.popleft()
        seconds = max(ends[-1][0] - ends[0][0], 1e-9)
        steps = len(ends) - 1
        waiting = (ends[-1][1] - ends[0][1]) / seconds
        return Pace(steps * self.batch / seconds, waiting, left * seconds / steps)


def memory_in_use(device: torch.device) -> int:
    """Return the bytes that this process holds: on a GPU what torch has reserved there, else what is resident.

    0 where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0
