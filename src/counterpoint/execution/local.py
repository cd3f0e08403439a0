"""Units carried out on this machine: in this process one after another, or in processes of their own at once."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar, final

from .children import Children, Ended, InTheWay
from .lease import InUse, leased
from .signals import postponed, raised
from .unit import Listener, NullListener, Portable, Progress, Unit

T = TypeVar("T")
_AGAIN = 1.0
"""Seconds until a folder that another process holds is tried again."""


class UnitFailed(RuntimeError):
    """A unit ended with an error or was killed; the message says which, why, and what is done."""


@final
@dataclass(frozen=True)
class Local:
    """Executor on this machine.

    Ctrl-C, SIGTERM and SIGHUP end the units in hand where they can go on, and no further one begins. So does the first
    error of a unit. Every unit's folder is leased: two commands share their units, and none is done twice.

    Attributes:
        at_once: units at a time; above 1 each has a process of its own, with its share of the cores.
        patient: wait for units that another process has in hand, rather than raise `InUse`.
    """

    at_once: int = 1
    patient: bool = True

    def carry_out(self, units: Sequence[Unit[T]], listener: Listener | None = None) -> list[T]:
        """Carry out those units that are not finished, and return all results in the order of the units.

        Raises:
            Stopped: after every unit in hand has come to where it can go on.
            UnitFailed: if a unit in a process of its own ended with an error; in this process its error is raised.
            InUse: if another process has a unit in hand, unless ``patient``.
        """
        work = _Work(units, listener or NullListener())
        if self.at_once <= 1 or len(units) <= 1:
            self._here(work)
        else:
            self._in_children(work)
        return [work.ends[index] for index in range(len(units))]

    def _here(self, work: _Work[T]) -> None:
        refused = 0
        with raised():
            while work.left:
                index = work.left.popleft()
                unit = work.units[index]
                try:
                    with leased(unit.folder):
                        if not work.found_finished(index):
                            work.end(index, unit.work(partial(work.listener.progressed, unit)))
                    refused = 0
                except InUse as error:
                    if not self.patient:
                        raise
                    work.left.append(index)
                    refused += 1
                    if refused >= len(work.left):
                        work.listener.waits(str(error))
                        time.sleep(_AGAIN)

    def _in_children(self, work: _Work[T]) -> None:
        children = Children(threads=max((os.cpu_count() or 1) // self.at_once, 1))
        retry: dict[int, float] = {}
        with postponed(at_once=children.kill) as stop, children:
            while children.busy or (work.left and not stop.asked):
                if stop.asked:
                    children.stop()
                else:
                    self._begin(work, children, retry)
                for index, message in children.messages():
                    if isinstance(message, Progress):
                        work.listener.progressed(work.units[index], message)
                    elif isinstance(message, InTheWay):
                        work.left.append(index)
                        retry[index] = time.monotonic() + _AGAIN
                        if not children.busy and retry.keys() >= set(work.left):
                            work.listener.waits(message.reason)
                    elif not work.found_finished(index) and not stop.asked:
                        raise work.failed(index, message)
            stop.check()

    def _begin(self, work: _Work[T], children: Children, retry: dict[int, float]) -> None:
        """Give units to children that are free, but for those that another process had a moment ago."""
        for _ in range(len(work.left)):
            if children.busy >= self.at_once:
                return
            index = work.left.popleft()
            unit = work.units[index]
            if index in retry and work.found_finished(index):
                continue
            if retry.get(index, 0.0) > time.monotonic():
                work.left.append(index)
            elif isinstance(unit, Portable):
                children.begin(index, unit)
            else:
                raise TypeError(f"{unit.key} cannot be told to another process: carry it out one at a time")


@final
class _Work(Generic[T]):
    """Units, the indices of those that are left, and the results of the others."""

    def __init__(self, units: Sequence[Unit[T]], listener: Listener) -> None:
        self.units, self.listener = units, listener
        self.ends: dict[int, T] = {}
        self.left = deque(index for index in range(len(units)) if not self.found_finished(index))

    def found_finished(self, index: int) -> bool:
        """Look whether a unit is finished, and take its result if it is."""
        result = self.units[index].read()
        if result is None:
            return False
        self.end(index, result)
        return True

    def end(self, index: int, result: T) -> None:
        self.ends[index] = result
        self.listener.ended(self.units[index], result)

    def failed(self, index: int, ended: Ended) -> UnitFailed:
        """Say which unit failed, why, and how far the work has come."""
        unit, reason = self.units[index], ended.error or "ended without a result"
        if ended.short_of_memory and unit.lighter:
            reason += f": {unit.lighter}"
        done = f"{len(self.ends)} of {len(self.units)} are done; the same command goes on from there"
        error = UnitFailed(f"{unit.key}: {reason} ({done})")
        if ended.traceback:
            error.add_note(ended.traceback)
        return error
