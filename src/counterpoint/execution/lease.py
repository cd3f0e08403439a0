"""Leases: a folder is worked on by one process at a time.

A lease is a file in the folder that its process touches every `HEARTBEAT` seconds. To take a folder, a process writes
its own lease and then lists those of others; if one of them is live, it removes its own again. If two processes come at
the same time, each sees the other, or one comes wholly after the other, so both never hold the folder.

A lease is dead if its process was on this machine and no longer exists. It is stale if it was not touched for `STALE`
seconds, because the process hangs, is suspended, or its machine is gone. The clocks of two machines are never compared:
the age of a lease is the time between its last touch and a touch now, both by the clock of the file server. That clock
may jump, too, so a process that takes a folder first watches a stale lease for two more heartbeats.

Only a process that takes the folder changes the leases of others: it removes dead ones and renames stale ones, in one
step that fails for one of the two if the other process wakes at that moment (the renamed file ends in ``.taken``, and
its owner removes it). A process that wakes and finds its lease
renamed must end, because it would overwrite what the other has written. Otherwise it goes on.

All of this needs only atomic renames and listings, which network file systems have.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from .folders import LEASES, make, unmake, unwritable
from .holder import Holder, is_orphan, mark
from .signals import raise_in

HEARTBEAT = 10.0
STALE = 120.0
_LEASE, _PART, _TAKEN = ".json", ".part", ".taken"
_log = logging.getLogger(__name__)


class InUseError(RuntimeError):
    """A folder is being worked on by another process."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        super().__init__(
            f"{folder} is in use by {holder}: wait until it ends, stop it, or choose another folder with --out"
        )
        self.folder, self.holder = folder, holder


class LeaseLostError(RuntimeError):
    """Another process took the folder of this one, which was suspended or hung for too long."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"another process took over {folder} while this one was suspended. This process stops and leaves the "
            "folder to it. Run the same command again to continue"
        )


def holder(folder: Path) -> Holder | None:
    """Return the live process that holds a folder; None where there is none."""
    beat = last_beat(folder)
    return None if beat is None else beat[0]


def last_beat(folder: Path) -> tuple[Holder, float] | None:
    """Return the live process that holds a folder, and the seconds since its last heartbeat; None where there is none.

    It changes no lease, so that it is safe for programs that only look.
    """
    live = [(lease.holder, age) for lease in _leases(folder) if (age := lease.age()) < STALE]
    return live[0] if live else None


@contextmanager
def leased(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold a folder in the block; it is created if need be, and removed again where nothing was written.

    Where a launcher starts several processes for one piece of work (``RANK`` says which), the first alone holds it.

    Args:
        folder: what to hold.
        wait: wait until it is free.

    Raises:
        InUseError: if another process holds it.
        LeaseLostError: in the block, if this process was suspended and another one took the folder.
        OSError: if it cannot be written.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    while True:
        made = make(folder)
        try:
            hold = _Hold(_take(folder, wait))
            break
        except FileNotFoundError:  # the holder before has removed the folder, empty, since it was looked for
            continue
        except BaseException:  # Ctrl-C too leaves no empty folder
            unmake(made)
            raise
    _holds[hold.folder] = hold
    threading.Thread(target=hold.beat, name="lease", daemon=True).start()
    try:
        yield
    finally:
        del _holds[hold.folder]  # before the folder is free, and another thread's
        hold.end()
        unmake(made)


def check_held(folder: Path) -> None:
    """Check that no other process took a folder that this one holds; to be called before something is written.

    It costs one call of the file system.

    Raises:
        LeaseLostError: if another process took the folder while this one was suspended.
    """
    if (hold := _holds.get(folder.absolute())) is not None:
        hold.check()


@final
class _Hold:
    """Lease of this process. A thread touches the file until the lease ends.

    Args:
        path: the lease's file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()  # the working directory may change
        self.folder, self.thread = self.path.parent, threading.get_ident()
        self.ended, self.lock, self.lost = threading.Event(), threading.Lock(), False

    def beat(self) -> None:
        while not self.ended.wait(HEARTBEAT):
            with self.lock:
                if self.ended.is_set() or self.lost:
                    return
                self.lost = not self._touch()
                if self.lost:
                    raise_in(self.thread, LeaseLostError(self.folder))

    def check(self) -> None:
        if os.path.exists(self.path):
            return
        with self.lock:
            self.lost = self.lost or not self._touch()
        if self.lost:
            raise LeaseLostError(self.folder)

    def end(self) -> None:
        with self.lock:
            self.ended.set()
            self.path.unlink(missing_ok=True)
            self.path.with_suffix(_TAKEN).unlink(missing_ok=True)

    def _touch(self) -> bool:
        """Touch the file, or write it again; return False if another process has taken the folder."""
        try:
            os.utime(self.path)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ESTALE}:  # a file system that is away for a moment
                return True
            if self.path.with_suffix(_TAKEN).exists():
                return False
            # Somebody has removed the file, so that another process may have found the folder free.
            with suppress(OSError):
                _write(self.path)
            if any(lease.age() < STALE for lease in _leases(self.folder, but=self.path)):
                self.path.unlink(missing_ok=True)
                return False
        return True


_holds: dict[Path, _Hold] = {}
"""Leases of this process, by folder."""


def _take(folder: Path, wait: bool) -> Path:
    path = folder / f"{LEASES}{uuid.uuid4().hex}.{mark()}{_LEASE}"
    watch, refusals = _Watch(folder), 0
    try:
        while True:
            others = watch.update()
            if not others:
                _write(path)
                others = watch.update(but=path)
                if not others and watch.clear():
                    return path
                path.unlink(missing_ok=True)
            refusals += 1
            # The other may be one that has come at the same moment, and has also removed its lease again.
            if refusals > 3 and not wait and others:
                newest = max(others, key=others.__getitem__)
                if others[newest] > 2 * HEARTBEAT:
                    raise InUseError(folder, newest.holder)
            time.sleep(random.uniform(0.02, 0.1))
    except BaseException:  # Ctrl-C too leaves no lease
        path.unlink(missing_ok=True)
        raise


@final
class _Watch:
    """Watch of the leases in a folder, by a process that wants to take it.

    Args:
        folder: where the leases are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._updated = folder, time.monotonic()
        self._left: dict[_Lease, float] = {}

    def update(self, but: Path | None = None) -> dict[_Lease, float]:
        """Return the leases that may be live but for that of a file, with the seconds after which each is stale."""
        now = time.monotonic()
        # The time that this process was suspended does not count: the others may have been suspended with it.
        passed, self._updated = min(now - self._updated, HEARTBEAT), now
        before, self._left = self._left, {}
        for lease in _leases(self.folder, but):
            if lease in before:
                self._left[lease] = before[lease] - passed
            elif any(lease.path == known.path for known in before):  # touched since
                self._left[lease] = STALE
            else:
                self._left[lease] = max(STALE - (age := lease.age()), 2 * HEARTBEAT)
                if age >= STALE:
                    _log.info(
                        f"{self.folder} is held by {lease.holder}, which was last active {age:.0f} s ago: taking over "
                        f"unless it shows activity within {2 * HEARTBEAT:.0f} s"
                    )
        return {lease: left for lease, left in self._left.items() if left > 0}

    def clear(self) -> bool:
        """Rename the stale leases and remove the dead ones; return False if a stale one was touched again."""
        for lease in self._left:
            taken = lease.path.with_suffix(_TAKEN)
            with suppress(FileNotFoundError):  # its process has ended
                lease.path.rename(taken)
                if taken.stat().st_mtime != lease.beat:
                    taken.rename(lease.path)
                    return False
        for path in _files(self.folder):
            dead = path.suffix == _LEASE and _read(path) is None
            if dead or (path.suffix in {_PART, _TAKEN} and is_orphan(path.stem.rpartition(".")[2])):
                with suppress(OSError):
                    path.unlink()
        return True


@dataclass(frozen=True)
class _Lease:
    """Lease of another process, which is not known to be dead.

    Attributes:
        path: the lease's file.
        holder: its process.
        beat: when it was touched last, by the clock of the file server.
    """

    path: Path
    holder: Holder
    beat: float

    def age(self) -> float:
        """Return the seconds since the last touch; a touch in the future is as far away as one in the past."""
        return abs(_server_time(self.path.parent) - self.beat)


def _leases(folder: Path, but: Path | None = None) -> list[_Lease]:
    """Return the leases in a folder but for dead and damaged ones, and that of a file."""
    leases = [_read(path) for path in _files(folder) if path.suffix == _LEASE and path != but]
    return [lease for lease in leases if lease is not None]


def _read(path: Path) -> _Lease | None:
    """Read a lease; return None for one that has ended, is damaged (none is written in parts) or is dead."""
    try:
        # In this order: to open a file makes network file systems ask the server for its times.
        holder = Holder(**json.loads(path.read_text(encoding="utf-8")))
        lease = _Lease(path, holder, path.stat().st_mtime)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return _read(path)  # NFS: the file was replaced or removed after it was opened
    return None if holder.ended else lease


def _server_time(folder: Path) -> float:
    """Return the time by the clock of a folder's file server; by that of this machine where nothing can be written."""
    try:
        with tempfile.TemporaryFile(prefix=LEASES, dir=folder) as probe:
            os.utime(probe.fileno())
            return os.fstat(probe.fileno()).st_mtime
    except OSError:
        return time.time()


def _write(path: Path) -> None:
    part = path.with_suffix(_PART)
    try:
        part.write_text(json.dumps(asdict(Holder.present())), encoding="utf-8")
        part.replace(path)
    except FileNotFoundError:  # the folder is gone; `leased` creates it again
        raise
    except OSError as error:
        part.unlink(missing_ok=True)
        raise unwritable(path.parent, error) from error


def _files(folder: Path) -> list[Path]:
    """Return the files of the leases of a folder; none of one that is gone, as its last holder may remove it."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith(LEASES))
    except (FileNotFoundError, NotADirectoryError):
        return []
