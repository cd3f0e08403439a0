"""Units, those of them that are left, and the results of the others: what every executor keeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar, final

from .children import UnitOutcome
from .unit import Listener, NullListener, Unit, UnitFailedError

T = TypeVar("T")


@final
class Work(Generic[T]):
    """Units, the indices of those that are left, and the results of the others."""

    def __init__(self, units: Sequence[Unit[T]], listener: Listener | None) -> None:
        self.units, self.listener = units, listener or NullListener()
        self.ends: dict[int, T] = {}
        self.left = deque(index for index in range(len(units)) if not self.found_finished(index))

    @property
    def results(self) -> list[T]:
        """Return the results that there are, in the order of the units."""
        return [self.ends[index] for index in range(len(self.units)) if index in self.ends]

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

    def failed(self, index: int, ended: UnitOutcome) -> UnitFailedError:
        """Say which unit failed, why, and how far the work has come."""
        unit, reason = self.units[index], ended.error or "ended without a result"
        if ended.short_of_memory and unit.lighter:
            reason += f": {unit.lighter}"
        done = f"{len(self.ends)} of {len(self.units)} are done; the same command goes on from there"
        error = UnitFailedError(f"{unit.key}: {reason} ({done})")
        if ended.traceback:
            error.add_note(ended.traceback)
        return error
