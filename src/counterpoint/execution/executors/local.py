"""Units carried out on this machine: in this process one after another, or in processes of their own at once."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, final

from .._work import Work
from ..children import Children, LeaseConflict
from ..lease import InUseError
from ..signals import postponed, raised
from ..together import carry_out
from ..unit import Listener, ResourceRequest, Unit, UnitProgress

T = TypeVar("T")
_AGAIN = 1.0
"""Seconds until a folder that another process holds is tried again."""


@final
@dataclass(frozen=True)
class Local:
    """Executor on this machine.

    Ctrl-C, SIGTERM and SIGHUP end the units in hand where they can go on, and no further one begins. So does the first
    error of a unit. Every unit's folder is leased: two commands share their units, and none is done twice.

    Attributes:
        jobs: units at a time; above 1 each has a process of its own, with its share of the cores.
        others: ``"wait"`` for units that another process has in hand, ``"leave"`` them, or ``"refuse"`` with
            `InUseError`.
    """

    jobs: int = 1
    others: Literal["wait", "leave", "refuse"] = "wait"

    def check(self, needs: ResourceRequest) -> None:
        return None

    def carry_out(
        self, units: Sequence[Unit[T]], listener: Listener | None = None, listed: Path | None = None
    ) -> list[T]:
        """Carry out those units that are not finished, and return all results in the order of the units.

        Those that are left to another process have none.

        Raises:
            Stopped: after every unit in hand has come to where it can go on.
            UnitFailedError: if a unit in a process of its own ended with an error; in this process its error is raised.
            InUseError: if another process has a unit in hand that is not to be waited for.
        """
        work = Work(units, listener)
        if self.jobs <= 1 or len(units) <= 1:
            self._here(work)
        else:
            self._in_children(work)
        return work.results

    def _here(self, work: Work[T]) -> None:
        refused = 0
        with raised():
            while work.left:
                index = work.left.popleft()
                unit = work.units[index]
                try:
                    work.end(index, carry_out(unit, partial(work.listener.progressed, unit)))
                    refused = 0
                except InUseError as error:
                    if self.others == "refuse":
                        raise
                    work.left.append(index)
                    refused += 1
                    if refused >= len(work.left):
                        if self.others == "leave":
                            return
                        work.listener.waits(str(error))
                        time.sleep(_AGAIN)

    def _in_children(self, work: Work[T]) -> None:
        children = Children(threads=max((os.cpu_count() or 1) // self.jobs, 1))
        retry: dict[int, float] = {}
        with postponed(at_once=children.kill) as stop, children:
            while children.busy or (work.left and not stop.requested):
                if stop.requested:
                    children.stop()
                else:
                    self._begin(work, children, retry)
                for index, message in children.messages():
                    if isinstance(message, UnitProgress):
                        work.listener.progressed(work.units[index], message)
                    elif isinstance(message, LeaseConflict):
                        work.left.append(index)
                        retry[index] = time.monotonic() + _AGAIN
                        if not children.busy and retry.keys() >= set(work.left):
                            work.listener.waits(message.reason)
                    elif not work.found_finished(index) and not stop.requested:
                        raise work.failed(index, message)
            stop.check()

    def _begin(self, work: Work[T], children: Children, retry: dict[int, float]) -> None:
        """Give units to children that are free, but for those that another process had a moment ago."""
        for _ in range(len(work.left)):
            if children.busy >= self.jobs:
                return
            index = work.left.popleft()
            unit = work.units[index]
            if index in retry and work.found_finished(index):
                continue
            if retry.get(index, 0.0) > time.monotonic():
                work.left.append(index)
            else:
                children.begin(index, unit)
