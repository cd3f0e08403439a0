"""The folder for what can be made again: rendered pictures, parsed tables. It may be deleted at any time."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import files

SIZE = "COUNTERPOINT_CACHE_SIZE"
"""Environment variable with the most bytes that copies of shards may take, and as many that decoded pictures may."""
_USUAL = "50GB"
_DAY = 86_400.0
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class CacheError(OSError):
    """The cache folder cannot be written; the message names it, the reason and the remedy."""


def cache_folder() -> Path:
    """Return ``$COUNTERPOINT_CACHE``, else ``counterpoint`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    chosen = os.environ.get("COUNTERPOINT_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "counterpoint"


def size_of(written: str) -> int:
    """Return a size in bytes from what a user wrote.

    >>> size_of("50GB"), size_of("1.5 tb"), size_of("1000")
    (50000000000, 1500000000000, 1000)

    Raises:
        ValueError: for anything else.
    """
    parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", written.lower())
    if parts is None:
        raise ValueError(f"{written!r} is no size; write it like 50GB or 500MB")
    return int(float(parts[1]) * _UNITS[parts[2]])


def most_bytes() -> int:
    """Return the most bytes that one kind of content may take: ``$COUNTERPOINT_CACHE_SIZE``, 50GB unless it is set.

    Raises:
        ValueError: if the variable holds no size.
    """
    return size_of(os.environ.get(SIZE) or _USUAL)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Write a file of the cache, as `counterpoint.files.writing` does.

    Raises:
        CacheError: the folder cannot be made or written, or the disk is full.
    """
    try:
        with files.writing(path) as part:
            yield part
    except CacheError:
        raise
    except OSError as error:
        raise CacheError(
            f"cannot write {path}: {error.strerror or error}; "
            f"set COUNTERPOINT_CACHE to a folder that can be written and has room"
        ) from error


def blocks_in(folder: Path) -> dict[Path, int]:
    """Return the blocks of a folder and of those within, with the bytes of each; without one that goes meanwhile."""
    sizes = {}
    for path in files.files_within(folder):
        if path.suffix == ".npy":
            with suppress(FileNotFoundError):  # another process makes room
                sizes[path] = path.stat().st_size
    return sizes


def last_use(block: Path) -> float:
    """Return when a block, an array with a JSON file beside it, was last used: when its JSON file was last touched."""
    try:
        return block.with_suffix(".json").stat().st_mtime
    except OSError:
        return 0.0


def is_idle(block: Path) -> bool:
    """Return whether nobody used a block for a day, so that it may make room for others."""
    return last_use(block) < time.time() - _DAY


def remove_block(block: Path) -> bool:
    """Remove a block, its JSON file first: what no JSON file speaks of is not there; return whether it is gone."""
    try:
        block.with_suffix(".json").unlink(missing_ok=True)
        block.unlink()
    except OSError:
        return False
    return True
