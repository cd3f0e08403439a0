"""Unit of work, executor and listener: the three things that every kind of work has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, final, runtime_checkable

T = TypeVar("T")


@dataclass(frozen=True)
class UnitProgress:
    """Progress of a unit that is being worked on.

    Attributes:
        done: parts that are done, in the unit's own measure (steps, questions).
        total: parts in all; 0 where that is not known.
        note: a few words for the reader, such as the present loss.
        numbers: the same and more by name, for programs.
    """

    done: int
    total: int = 0
    note: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


OnProgress = Callable[[UnitProgress], None]


@dataclass(frozen=True)
class ResourceRequest:
    """Needs of a unit while it is worked on.

    Attributes:
        cpus: processors.
        gpus: GPUs; with several, the unit is worked on by as many processes, as ``torchrun`` starts them.
        memory: bytes; 0 where nobody has said.
        nodes: machines that the GPUs are on.
    """

    cpus: int = 1
    gpus: int = 0
    memory: int = 0
    nodes: int = 1


class UnitFailedError(RuntimeError):
    """A unit ended with an error or was killed; the message says which, why, and what is done."""


class WorkHandover(Exception):
    """Units are carried out by others from here on; the message says by whom, and what to do."""


@runtime_checkable
class Unit(Protocol[T]):
    """One piece of work that is never done twice.

    Its folder says whether it is finished: `work` writes there, and the mark of the end last.
    """

    @property
    def key(self) -> str:
        """Name in messages, unlike those of the units beside it: ``"clip, seed 0"``."""
        ...

    @property
    def folder(self) -> Path:
        """Folder that is leased while the unit is worked on."""
        ...

    @property
    def lighter(self) -> str:
        """Advice in words for a unit that ran out of memory; ``""`` where there is none."""
        ...

    def read(self) -> T | None:
        """Read the result from the folder; None where the unit is not finished."""
        ...

    def work(self, on_progress: OnProgress) -> T:
        """Do the work, from where an earlier call stopped, and return the result."""
        ...

    def outcome(self, result: T) -> str:
        """Describe a result in a few words: ``"done (500 steps, 12 s)"``."""
        ...


@runtime_checkable
class PortableUnit(Unit[T], Protocol[T]):
    """Unit that another process can be told of, as JSON."""

    @property
    def needs(self) -> ResourceRequest:
        """Return what the unit needs while it is worked on."""
        ...

    def plain(self) -> dict[str, Any]:
        """Describe the unit in what JSON can carry, all but its folder and its needs."""
        ...

    @classmethod
    def parse(cls, plain: dict[str, Any], folder: Path, needs: ResourceRequest) -> PortableUnit[T]:
        """Make the unit that `plain` described, with its folder and its needs."""
        ...


@runtime_checkable
class Listener(Protocol):
    """Receiver of a work's progress events."""

    def begin(self, title: str, units: Sequence[Unit[Any]]) -> None:
        """Announce units that are about to be carried out, under a title; none for work that has no parts."""
        ...

    def progressed(self, unit: Unit[Any], progress: UnitProgress) -> None:
        """Report progress of a unit."""
        ...

    def ended(self, unit: Unit[Any], result: Any) -> None:
        """Report a unit's result, new or found finished."""
        ...

    def waits(self, reason: str) -> None:
        """Report that every unit left is in the hands of another process."""
        ...


@final
class NullListener:
    """A listener that ignores every event."""

    def begin(self, title: str, units: Sequence[Unit[Any]]) -> None:
        return None

    def progressed(self, unit: Unit[Any], progress: UnitProgress) -> None:
        return None

    def ended(self, unit: Unit[Any], result: Any) -> None:
        return None

    def waits(self, reason: str) -> None:
        return None


@runtime_checkable
class Executor(Protocol):
    """Carries out units somewhere: on this machine (`Local`), on a cluster."""

    def check(self, needs: ResourceRequest) -> None:
        """Refuse what can be known to be wrong before there are units.

        Args:
            needs: of each unit.
        """
        ...

    def carry_out(
        self, units: Sequence[Unit[T]], listener: Listener | None = None, listed: Path | None = None
    ) -> list[T]:
        """Carry out those units that are not finished, and return all results in the order of the units.

        Args:
            units: what is to be done.
            listener: told of every event.
            listed: the folder whose `WorkList` has them, for those who come to it by themselves.

        Raises:
            WorkHandover: if others carry them out, after this process.
        """
        ...
