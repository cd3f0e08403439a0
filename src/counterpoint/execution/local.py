"""Units carried out on this machine: in this process one after another, or in processes of their own at once."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, final

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
        ends: dict[int, T] = {}
        listener = listener or NullListener()
        left: deque[int] = deque()
        for index, unit in enumerate(units):
            result = unit.read()
            if result is None:
                left.append(index)
            else:
                ends[index] = result
                listener.ended(unit, result)
        if self.at_once <= 1 or len(units) <= 1:
            self._here(units, left, ends, listener)
        else:
            self._in_children(units, left, ends, listener)
        return [ends[index] for index in range(len(units))]

    def _here(
        self, units: Sequence[Unit[T]], left: deque[int], ends: dict[int, T], listener: Listener
    ) -> None:
        refused = 0
        with raised():
            while left:
                index = left.popleft()
                unit = units[index]

                def on_progress(progress: Progress, unit: Unit[T] = unit) -> None:
                    listener.progressed(unit, progress)

                try:
                    with leased(unit.folder):
                        found = unit.read()
                        ends[index] = unit.work(on_progress) if found is None else found
                except InUse as error:
                    if not self.patient:
                        raise
                    left.append(index)
                    refused += 1
                    if refused >= len(left):
                        listener.waits(str(error))
                        time.sleep(_AGAIN)
                    continue
                refused = 0
                listener.ended(unit, ends[index])

    def _in_children(
        self, units: Sequence[Unit[T]], left: deque[int], ends: dict[int, T], listener: Listener
    ) -> None:
        threads = max((os.cpu_count() or 1) // self.at_once, 1)
        retry: dict[int, float] = {}
        children = Children(threads)
        with postponed(at_once=children.kill) as stop, children:
            while children.busy or (left and not stop.asked):
                if stop.asked:
                    children.stop()
                for _ in range(len(left)):
                    if stop.asked or children.busy >= self.at_once:
                        break
                    index = left.popleft()
                    unit = units[index]
                    if index in retry and (result := unit.read()) is not None:
                        ends[index] = result
                        listener.ended(unit, result)
                    elif retry.get(index, 0.0) > time.monotonic():
                        left.append(index)
                    elif isinstance(unit, Portable):
                        children.begin(index, unit)
                    else:
                        raise TypeError(
                            f"{unit.key} cannot be told to another process: carry it out one at a time"
                        )
                for index, message in children.messages():
                    unit = units[index]
                    if isinstance(message, Progress):
                        listener.progressed(unit, message)
                    elif isinstance(message, InTheWay):
                        left.append(index)
                        retry[index] = time.monotonic() + _AGAIN
                        if not children.busy and all(waiting in retry for waiting in left):
                            listener.waits(message.reason)
                    elif message.error and not stop.asked:
                        children.stop()
                        raise self._failed(units, unit, message, ends)
                    elif (result := unit.read()) is not None:
                        ends[index] = result
                        listener.ended(unit, result)
            stop.check()

    def _failed(
        self, units: Sequence[Unit[Any]], unit: Unit[Any], ended: Ended, ends: dict[int, Any]
    ) -> UnitFailed:
        reason = ended.error
        if ended.short_of_memory and unit.lighter:
            reason += f": {unit.lighter}"
        error = UnitFailed(
            f"{unit.key}: {reason} ({len(ends)} of {len(units)} are done; the same command goes on from there)"
        )
        if ended.traceback:
            error.add_note(ended.traceback)
        return error
