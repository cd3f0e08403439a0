"""Processes that hold folders, told apart across machines and restarts."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """Process that holds a folder.

    Attributes:
        host: its machine's name.
        process: its number.
        machine: what makes process numbers comparable: this start of the machine, this space of numbers.
        started: when the process started, as the system counts, so that a number used again is told apart; 0 where
            the system does not say.
        since: when it took the folder, in seconds since 1970.
    """

    host: str
    process: int
    machine: str
    started: int
    since: float

    def __str__(self) -> str:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.process} on {self.host} since {began}"

    @classmethod
    def present(cls) -> Holder:
        """Describe this process."""
        process = os.getpid()
        return cls(socket.gethostname(), process, _machine(), _started(process) or 0, time.time())

    def alive(self) -> bool:
        """Return whether the process exists; meaningless for a process of another machine."""
        return _started(self.process) == self.started

    @property
    def ended(self) -> bool:
        """Return whether the process was on this machine and no longer exists."""
        return self.machine == _machine() and not self.alive()


def mark() -> str:
    """Return a part of a file's name that identifies this process."""
    return f"{_machine_digest()}-{os.getpid()}"


def is_orphan(name: str) -> bool:
    """Return whether a `mark` is that of a process that was on this machine and no longer exists."""
    machine, _, process = name.rpartition("-")
    return machine == _machine_digest() and _started(int(process)) is None


def _machine() -> str:
    """Return what process numbers are counted in: a start of a machine and a space of numbers, or a machine."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _machine_digest() -> str:
    return hashlib.sha256(_machine().encode()).hexdigest()[:12]


def _started(process: int) -> int | None:
    """Return when a process of this machine started, in the system's ticks; 0 if unknown, None where it is gone."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:  # another user's
        pass
    try:
        fields = (
            Path(f"/proc/{process}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
    except OSError:
        return 0
    return None if fields[0] in {"Z", "X"} else int(fields[19])
