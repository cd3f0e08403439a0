"""Child processes that carry out units, seen from their parent."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, final

from .. import trust
from .orders import WorkItem
from .signals import held_back
from .unit import Unit, UnitProgress

_WAIT = 0.2
"""Seconds between two looks at what else has happened."""


@dataclass(frozen=True)
class UnitOutcome:
    """End of a unit in a child.

    Attributes:
        error: why it failed; ``""`` where it did not.
        traceback: of the error, where Python raised one.
        short_of_memory: whether it ended as a process does that the system takes for too large.
    """

    error: str = ""
    traceback: str = ""
    short_of_memory: bool = False


@dataclass(frozen=True)
class LeaseConflict:
    """Another process has the unit in hand; ``reason`` says which."""

    reason: str


Message = UnitProgress | UnitOutcome | LeaseConflict


class _Child:
    """One process and the unit that it has in hand, by its index."""

    def __init__(self, threads: int) -> None:
        self.report, theirs = os.pipe()
        try:
            with held_back():
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "counterpoint.execution.child", str(theirs)],
                    stdin=subprocess.PIPE,
                    pass_fds=[theirs],
                    env=environment(threads),
                )
        finally:
            os.close(theirs)
        os.set_blocking(self.report, False)
        self.index: int | None = None
        self.heard = b""

    def order(self, index: int, order: WorkItem) -> None:
        self.index = index
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order.plain()).encode() + b"\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """Let the child end: at once if it is idle, else at a checkpoint."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def lines(self) -> Iterator[bytes]:
        """Read what it has reported."""
        with suppress(BlockingIOError):
            while chunk := os.read(self.report, 65536):
                self.heard += chunk
        *lines, self.heard = self.heard.split(b"\n")
        yield from lines

    def dead(self) -> UnitOutcome | None:
        """Describe how the child ended; None while it lives."""
        if self.process.returncode is not None:
            return None
        number, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if number == 0:
            return None
        code = self.process.returncode = os.waitstatus_to_exitcode(status)
        self.close()
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**30
        if code < 0:
            name = signal.Signals(-code).name
            why = ", as the system does that has no memory left," if code == -signal.SIGKILL else ""
            return UnitOutcome(
                f"was killed by {name}{why} at {peak:.1f} GB", short_of_memory=code == -signal.SIGKILL
            )
        if code == 128 + signal.SIGTERM:
            return UnitOutcome("was stopped by SIGTERM")
        return UnitOutcome(f"its process ended with status {code}, at {peak:.1f} GB of memory")


@final
class Children:
    """Processes that carry out units, one each at a time; none is told of a unit before it is free.

    Args:
        threads: threads of each.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._children: list[_Child] = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let all children end, and wait for them."""
        self.stop()
        for child in self._children:
            self._forget(child)
            if child.process.returncode is None:
                child.process.wait()
        self._selector.close()

    @property
    def busy(self) -> int:
        """Number of units in hand."""
        return sum(child.index is not None for child in self._children)

    def begin(self, index: int, unit: Unit[Any]) -> None:
        """Give a unit to an idle child, or to a new one.

        Raises:
            TypeError: if other processes cannot be told of it.
        """
        order = WorkItem.of(unit)
        child = next((c for c in self._children if c.index is None), None)
        if child is None:
            child = _Child(self._threads)
            self._children.append(child)
            self._selector.register(child.report, selectors.EVENT_READ, child)
        with suppress(BrokenPipeError):  # it has died meanwhile, which `messages` tells
            child.order(index, order)

    def messages(self) -> Iterator[tuple[int, Message]]:
        """Yield what the children report, with the index of the unit, after waiting for a moment."""
        self._selector.select(_WAIT)
        for child in list(self._children):
            dead = child.dead()
            for line in child.lines():
                index = child.index
                assert index is not None
                message = _read(json.loads(line))
                if not isinstance(message, UnitProgress):
                    child.index = None
                yield index, message
            if dead is not None:
                self._children.remove(child)
                self._forget(child)
                if child.index is not None:
                    yield child.index, dead

    def stop(self) -> None:
        """Ask all children to end where their units can go on."""
        for child in self._children:
            child.close()

    def kill(self) -> None:
        """End all children at once."""
        for child in self._children:
            with suppress(OSError):
                child.process.kill()

    def _forget(self, child: _Child) -> None:
        with suppress(KeyError):
            self._selector.unregister(child.report)
            os.close(child.report)


def _read(message: dict[str, Any]) -> Message:
    if "progress" in message:
        return UnitProgress(**message["progress"])
    if "in_use" in message:
        return LeaseConflict(message["in_use"])
    return UnitOutcome(message.get("error", ""), message.get("traceback", ""))


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a child: the import path of this process, and the number of threads.

    The child imports nothing from its working directory unless this process does.
    """
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    paths = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    return {"OMP_NUM_THREADS": str(threads), **os.environ, **trust.environment(), **paths}
