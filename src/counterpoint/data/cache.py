"""The folder for what can be made again: rendered pictures, parsed tables. It may be deleted at any time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ABANDONED = 3600.0  # seconds after which an unfinished file can belong to no live writer


class CacheError(OSError):
    """The cache folder cannot be written; the message names it, the reason and the remedy."""


def cache_folder() -> Path:
    """``$COUNTERPOINT_CACHE``, else ``counterpoint`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    chosen = os.environ.get("COUNTERPOINT_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "counterpoint"


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of ``path`` when the block ends well, and goes when it does not.

    The last step is one rename, so a reader finds a whole file or none, and two processes that write the same
    file at once do no harm.

    Raises:
        CacheError: the folder cannot be made or written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(".*.part"):
            with suppress(OSError):  # another process may have removed it first
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink()
        part = path.parent / f".{path.name}.{os.getpid()}-{time.monotonic_ns()}.part"
        try:
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except CacheError:
        raise
    except OSError as error:
        raise CacheError(
            f"cannot write {path}: {error.strerror or error}; "
            f"set COUNTERPOINT_CACHE to a folder that can be written and has room"
        ) from error
