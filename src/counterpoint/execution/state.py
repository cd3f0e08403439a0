"""State of a unit, as whoever works on it writes it into its folder: ``progress.json``.

It is for people who look (``counterpoint status``) and for executors that follow a unit from elsewhere; nothing depends
on it, and a unit without it goes on all the same.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from ..reasons import reason
from .folders import LEASES
from .lease import check_held
from .signals import StopRequest
from .unit import OnProgress, Unit, UnitProgress

T = TypeVar("T")
FILE = "progress.json"
_EVERY = 2.0
"""Seconds between two writings: what a reader waits for at most."""

Status = Literal["working", "done", "stopped", "failed"]


@dataclass(frozen=True)
class State:
    """State of a unit.

    Attributes:
        status: how it stands.
        progress: how far it has come.
        words: how it ended: its outcome, or what stopped it.
        host: the machine that it was worked on last.
        process: the process there.
        since: when that process began with it, in seconds since 1970.
        at: when this was written.
    """

    status: Status
    progress: UnitProgress
    words: str
    host: str
    process: int
    since: float
    at: float

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """Read the state in a unit's folder; None where there is none that can be read."""
        try:
            plain = json.loads((folder / FILE).read_text(encoding="utf-8"))
            known = UnitProgress.__dataclass_fields__.keys()
            progress = {name: value for name, value in plain["progress"].items() if name in known}
            return cls(**{**plain, "progress": UnitProgress(**progress)})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self, folder: Path) -> None:
        """Write the state, as a whole; a disk that is full is no reason to end the work."""
        part = folder / f".{FILE}.{os.getpid()}"
        with suppress(OSError):
            try:
                part.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
                part.replace(folder / FILE)
            finally:
                part.unlink(missing_ok=True)


def finish(unit: Unit[T], on_progress: OnProgress | None = None) -> T:
    """Return the result of a unit whose folder this process holds; what is not done yet is done now, and noted.

    Args:
        unit: what is to be done.
        on_progress: told of its progress.

    Raises:
        LeaseLostError: if this process was suspended and another one took the folder; nothing is noted then.
    """
    note = _Note(unit, on_progress)
    result = unit.read()
    if result is None:
        try:
            result = unit.work(note)
        except StopRequest as stopped:
            note.end("stopped", str(stopped))
            raise
        except Exception as error:
            note.end("failed", reason(error))
            raise
        note.end("done", unit.outcome(result))
    elif State.read(unit.folder) is None:  # it ended before its state was written
        note.end("done", unit.outcome(result))
    return result


class _Note(Generic[T]):
    """Notes the progress of a unit in its folder, and passes it on."""

    def __init__(self, unit: Unit[T], on_progress: OnProgress | None) -> None:
        self.unit, self.on_progress = unit, on_progress
        self.progress, self.written, self.since = UnitProgress(0), -_EVERY, time.time()
        self.first = os.environ.get("RANK", "0") == "0"  # of several processes, the first speaks

    def __call__(self, progress: UnitProgress) -> None:
        check_held(self.unit.folder)
        self.progress = progress
        if time.monotonic() - self.written >= _EVERY:
            self.written = time.monotonic()
            self._write("working")
        if self.on_progress is not None:
            self.on_progress(progress)

    def end(self, status: Status, words: str) -> None:
        folder = self.unit.folder
        check_held(folder)
        if not self.first or not folder.is_dir():
            return
        if any(not path.name.startswith((LEASES, FILE)) for path in folder.iterdir()):
            self._write(status, words)
        else:  # its result is elsewhere, or it was refused
            (folder / FILE).unlink(missing_ok=True)

    def _write(self, status: Status, words: str = "") -> None:
        if self.first:
            here: dict[str, Any] = {"host": socket.gethostname(), "process": os.getpid()}
            State(status, self.progress, words, **here, since=self.since, at=time.time()).write(
                self.unit.folder
            )
