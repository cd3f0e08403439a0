"""Local copies of shards that lie elsewhere: whole or not there, in a folder of bounded size that processes share."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from threading import Thread
from typing import Any, final

import fsspec
import polars as pl

from ...files import writing
from ...registry import MissingPackageError
from .. import sources
from ..cache import CacheError, cache_folder, most_bytes
from ..sources import Ledger, Records, Shard, is_url, name_of, suffix_of

_ATTEMPTS = 6
_AT_ONCE = 2  # shards that are fetched ahead
_FIRST_WAIT = 1.0  # seconds, doubled from attempt to attempt
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_COPIED = (".tar", ".parquet")  # what other tables name lies elsewhere, so that a copy of them alone is none


_UNSEEN = 0.01
"""Share of what copies may take that a process may write beside them before it looks at all of them."""
_written: dict[Path, int] = {}
"""Bytes that this process keeps of shards in a folder since it last looked at all that is there."""


class UnreachableFileError(OSError):
    """A shard that its store does not serve, however often it is asked."""


@final
class Copies:
    """Copies of shards in a folder.

    A process that needs a shard which another one is fetching waits for it, so that the ranks of a machine fetch each
    once. Where there is no room left, the copies that were used least recently go. A store that fails, or serves a
    part, is asked again, after longer and longer waits.

    Args:
        folder: of the copies.
        most: bytes that they may take; what is being fetched comes on top, and so may a hundredth from each process.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most

    @classmethod
    def usual(cls) -> Copies:
        """Return those in the cache folder, of the size that the user set."""
        return cls(cache_folder() / "shards", most_bytes())

    def local(self, shard: Shard) -> Shard:
        """Return a shard that can be opened here: itself, or its copy, which is fetched unless it is there.

        Raises:
            FileNotFoundError: if the store has no such shard.
            PermissionError: if it does not give it.
            MissingPackageError: for a store whose package is not installed.
            UnreachableFileError: if it was asked several times and never served all of it.
            CacheError: if there is no room for the copy, or the folder cannot be written.
        """
        if not is_remote(shard):
            return shard
        path = self.path(shard)
        if not _touched(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder / f".lock-{path.parent.name[:2]}"):  # few locks, and none to be removed
                if not _touched(path):
                    self._fetch(shard.location, path)
        return replace(shard, location=str(path))

    def cached(self, shard: Shard, name: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """Return what is known of a shard, mapped from a file; one process makes it, for all that share the folder.

        Args:
            shard: in its present state.
            name: of the file.
            make: is called where there is none.
        """
        path = self.path(shard).with_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder / f".made-{path.parent.name[:2]}"):
            if _touched(path):
                with suppress(
                    OSError, pl.exceptions.PolarsError
                ):  # damaged, or removed meanwhile: made again
                    return pl.read_ipc(path)
            made = make()
            with (
                suppress(OSError),
                ExitStack() as until_it_is_there,
                writing(path) as part,
            ):  # no room: not kept
                made.write_ipc(part)
                # It is little, and a look at all copies takes longer the more of them there are.
                size = part.stat().st_size
                written = _written.get(self.folder, self.most) + size
                if written > _UNSEEN * self.most:
                    until_it_is_there.enter_context(_locked(self.folder / ".lock"))
                    self._make_room(size)
                    written = 0
                _written[self.folder] = written
            with suppress(OSError, pl.exceptions.PolarsError):
                return pl.read_ipc(path)  # which takes no memory of each process's own
        return made

    def path(self, shard: Shard) -> Path:
        """Return where the copy of a shard is: another place for another state of it."""
        stretch = "" if shard.span is None else f"\0{shard.span.start}:{shard.span.stop}"
        told = blake2b(f"{shard.location}\0{shard.state}{stretch}".encode(), digest_size=12).hexdigest()
        return self.folder / told / name_of(shard.location)

    def _fetch(self, location: str, path: Path) -> None:
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
            try:
                return self._copy(location, path)
            except ImportError as error:
                raise MissingPackageError(
                    f"{location}: {error}; run: pip install 'counterpoint[cloud]'"
                ) from error
            except (FileNotFoundError, PermissionError) as error:
                raise type(error)(f"{location}: {error}") from error
            except CacheError:
                raise
            except Exception as error:  # each store's package has errors of its own
                failure = error
        raise UnreachableFileError(
            f"{location} was asked for {_ATTEMPTS} times and not served: {' '.join(str(failure).split())}; run the "
            "same command again once it is: it goes on"
        ) from failure

    def _copy(self, location: str, path: Path) -> None:
        store, remote = fsspec.core.url_to_fs(location)
        size = int(store.info(remote)["size"])
        if size > self.most:
            raise CacheError(
                f"{location} has {size:,} bytes, and copies may take {self.most:,}: allow more with --cache-size"
            )
        with _locked(self.folder / ".lock"):
            free = self._make_room(size, on_disk=size)
        if free < size:
            raise CacheError(
                f"no room for {location} ({size:,} bytes) in {self.folder}, whose disk has {free:,} left: make room, "
                "or set COUNTERPOINT_CACHE to a folder on another disk"
            )
        try:
            with ExitStack() as until_it_is_there, writing(path, size) as part:
                store.get_file(remote, str(part))
                if (served := part.stat().st_size) != size:
                    raise UnreachableFileError(f"{served:,} of {size:,} bytes were served")
                until_it_is_there.enter_context(_locked(self.folder / ".lock"))
                self._make_room(size)  # again, as others may have fetched theirs meanwhile
        except OSError as error:
            if error.errno not in _OF_THE_DISK:
                raise
            raise CacheError(
                f"no room for {location} ({size:,} bytes) in {self.folder}: {error.strerror}; make room, or set "
                "COUNTERPOINT_CACHE to a folder on another disk"
            ) from error

    def _make_room(self, size: int, on_disk: int = 0) -> int:
        """Remove the copies that were used least recently until there is room for one; return the bytes left on disk.

        Args:
            size: of the copy.
            on_disk: bytes that the disk must have left.
        """
        copies = []
        for path in self.folder.glob("[!.]*/[!.]*"):
            with suppress(FileNotFoundError):
                stat = path.stat()
                copies.append((stat.st_mtime, stat.st_size, path))
        taken, free = sum(copy[1] for copy in copies), shutil.disk_usage(self.folder).free
        for _, freed, path in sorted(copies):
            if taken + size <= self.most and free >= on_disk:
                break
            path.unlink(missing_ok=True)
            with suppress(OSError):  # a process is about to write there
                path.parent.rmdir()
            taken, free = taken - freed, free + freed
        return free


@final
class ShardPrefetcher:
    """Threads that fetch the shards which are needed soon, in the order in which they are.

    A shard that cannot be fetched is left to whoever opens it, who then says why.

    Args:
        copies: to be had.
    """

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._asked: list[Shard] = []
        self._wanted: deque[Shard] = deque()
        self._threads: list[Thread] = []

    def fetch(self, shards: Sequence[Shard]) -> None:
        """Begin to fetch some shards, in place of those that were asked for before and are not begun."""
        if list(shards) == self._asked:
            return
        self._asked, self._wanted = list(shards), deque(shards)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for _ in range(_AT_ONCE - len(self._threads)):
            # A process that ends does not wait for what it will not read.
            self._threads.append(Thread(target=self._run, daemon=True))
            self._threads[-1].start()

    def _run(self) -> None:
        while self._wanted:
            with suppress(IndexError, OSError, ValueError):
                self._copies.local(self._wanted.popleft())


def open_local(shard: Shard) -> Records:
    """Read a shard wherever it lies; of a table only what it says, and none of the pictures in it.

    Raises:
        OSError: as for `Copies.local`.
        ValueError: if it cannot be read.
    """
    through = suffix_of(shard.location) == ".tar"
    return sources.open_shard(Copies.usual().local(shard) if through else shard, Ledger())


def is_remote(shard: Shard) -> bool:
    """Return whether a shard lies elsewhere, and is one that a copy stands for."""
    return is_url(shard.location) and suffix_of(shard.location) in _COPIED


def _touched(path: Path) -> bool:
    """Return whether there is a copy, which then is the one that was used last."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _locked(path: Path) -> Iterator[Any]:
    """Let one process through the block at a time; a lock goes with the process that holds it."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
