"""Leases: a folder is worked on by one process at a time.

A process that takes a folder writes a file of its own there, under a name that no other uses, and then looks for
others' files: where it sees one of a live process it takes its own back. Of two that come at once each sees the other,
or one comes wholly after: never do both hold the folder. A dead process's file is never live again, so that anyone may
remove it. Only files whole at their first sight and listings are needed, which network file systems have.

A process on this machine is dead when it is gone; any process, a hanging one too, when its file has not been touched
for `STALE` seconds, which it does every `HEARTBEAT` seconds. One that was taken for dead and goes on after all ends at
once when it finds its folder in other hands: it would write over what the other has done.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

HEARTBEAT = 10.0
STALE = 120.0
PREFIX = ".lease-"


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
        """Return whether a process of this machine is still there."""
        return _started(self.process) == self.started


class InUse(RuntimeError):
    """A folder is being worked on by another process."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        super().__init__(
            f"{folder} is in use by {holder}: wait until it ends, stop it, or choose another folder with --out"
        )
        self.folder, self.holder = folder, holder


def holder(folder: Path) -> Holder | None:
    """Return the live process that holds a folder; None where there is none."""
    return next((holder for holder, _ in _live(folder)), None)


def last_beat(folder: Path) -> tuple[Holder, float] | None:
    """Return the live process that holds a folder, and when it was last heard of; None where there is none."""
    return next(iter(_live(folder)), None)


@contextmanager
def leased(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold a folder in the block; it is created if need be, and removed again where nothing was written.

    Where a launcher starts several processes for one piece of work (``RANK`` says which), the first alone holds it.

    Args:
        folder: what to hold.
        wait: wait until it is free.

    Raises:
        InUse: if another process holds it.
        OSError: if it cannot be written.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    while True:
        made = _make(folder)
        try:
            hold = _Hold(_take(folder, wait))
            break
        except FileNotFoundError:  # the holder before has removed the folder, empty, since it was looked for
            continue
        except BaseException:  # Ctrl-C too leaves no empty folder
            _unmake(made)
            raise
    _holds[folder] = hold
    threading.Thread(target=hold.beat, name="lease", daemon=True).start()
    try:
        yield
    finally:
        del _holds[folder]  # before the folder is free, and another thread's
        hold.end()
        _unmake(made)


def contents(folder: Path) -> list[Path]:
    """Return what a folder holds beside leases and what is still being written; a file holds itself.

    A process that is killed leaves such names behind: a folder with nothing else counts as empty.
    """
    if not folder.is_dir():
        return [folder] if folder.exists() else []
    return [path for path in folder.iterdir() if not path.name.startswith(PREFIX) and path.suffix != ".part"]


def check_writable(folder: Path) -> None:
    """Check that a folder could be made and written, before there is anything to write; nothing of the trial is left.

    Raises:
        OSError: if it could not.
    """
    made = _make(folder)
    _unmake(made)


def check_held(folder: Path) -> None:
    """End this process if it holds a folder that others have taken since; to be called before something is written.

    Costs a look at the clock, unless the process was not heard of for a while.
    """
    if (hold := _holds.get(folder)) is not None:
        hold.check()


@final
class _Hold:
    """A lease that this process has: it touches the file until the lease ends.

    Args:
        path: the lease's file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.ended, self.lock = path, threading.Event(), threading.Lock()
        self.touched = time.time()

    def beat(self) -> None:
        while not self.ended.wait(HEARTBEAT):
            self.touch()

    def check(self) -> None:
        if time.time() - self.touched > 2 * HEARTBEAT:
            self.touch()

    def touch(self) -> None:
        with self.lock:
            if self.ended.is_set():
                return
            try:
                os.utime(self.path)
            except FileNotFoundError:
                folder = self.path.parent
                if time.time() - self.touched > STALE or _live(folder):
                    _lost(folder)
                with suppress(OSError):
                    _write(self.path, Holder.present())
            except OSError:  # a file system that is away for a moment
                return
            self.touched = time.time()

    def end(self) -> None:
        with self.lock:
            self.ended.set()
            self.path.unlink(missing_ok=True)


_holds: dict[Path, _Hold] = {}
"""Folders that this process holds."""


def _lost(folder: Path) -> None:
    """End this process, which others have taken for dead."""
    word = f"\n{folder} was taken over while this process hung: it ends here, and what it had done is kept.\n"
    with suppress(OSError):
        os.write(2, word.encode())
    os._exit(1)


def _take(folder: Path, wait: bool) -> Path:
    path = folder / f"{PREFIX}{uuid.uuid4().hex}.json"
    refusals = 0
    while True:
        others = _live(folder)
        if not others:
            _write(path, Holder.present())
            others = _live(folder, but=path)
            if not others:
                return path
            path.unlink(missing_ok=True)
        refusals += 1
        # The other may be one that has come at the same moment, and has stepped back likewise.
        if refusals > 3 and not wait:
            raise InUse(folder, others[0][0])
        time.sleep(random.uniform(0.02, 0.1))


def _write(path: Path, holder: Holder) -> None:
    part = path.with_suffix(f".{_machine_digest()}-{holder.process}.part")
    try:
        part.write_text(json.dumps(asdict(holder)), encoding="utf-8")
        part.replace(path)
    except FileNotFoundError:  # the folder is gone, which `leased` makes anew
        raise
    except OSError as error:
        part.unlink(missing_ok=True)
        raise unwritable(path.parent, error) from error


def _files(folder: Path) -> list[Path]:
    """Return the files of the leases of a folder; none of one that is gone, as its last holder may remove it."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith(PREFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _live(folder: Path, but: Path | None = None) -> list[tuple[Holder, float]]:
    """Return the live processes with a lease in a folder, with their last beats; remove the files of dead ones."""
    live = []
    for path in _files(folder):
        if path.suffix == ".part":  # of a process that was killed while it wrote
            machine, _, process = path.stem.rpartition(".")[2].rpartition("-")
            gone = machine == _machine_digest() and _started(int(process)) is None
            with suppress(OSError):
                if gone or time.time() - path.stat().st_mtime > STALE:
                    path.unlink()
            continue
        if path == but:
            continue
        try:
            holder = Holder(**json.loads(path.read_text(encoding="utf-8")))
            beaten = path.stat().st_mtime
        except FileNotFoundError:  # released in the meantime
            continue
        except (ValueError, TypeError):  # a damaged file says nothing: no process writes one in parts
            path.unlink(missing_ok=True)
            continue
        if _alive(holder, beaten):
            live.append((holder, beaten))
        else:
            with suppress(OSError):
                path.unlink()
    return live


def _alive(holder: Holder, beaten: float) -> bool:
    fresh = time.time() - beaten < STALE
    return fresh and (holder.machine != _machine() or holder.alive())


def _machine() -> str:
    """Return what process numbers are counted in: a start of a machine and a space of numbers, or a machine."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _machine_digest() -> str:
    """Return a few letters that stand for the machine in a file's name."""
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


def _make(folder: Path) -> list[Path]:
    """Create a folder and return those that had to be, the innermost first."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return made


def _unmake(made: list[Path]) -> None:
    """Remove created folders that are empty."""
    for path in made:
        try:
            path.rmdir()
        except OSError:
            return


def unwritable(folder: Path, error: OSError) -> OSError:
    """Return the error that a folder cannot be written, in words that say what to do."""
    return OSError(f"cannot write to {folder}: {error.strerror}; choose another folder with --out")
