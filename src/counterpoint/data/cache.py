"""The folder for what can be made again: rendered pictures, parsed tables. It may be deleted at any time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import files


class CacheError(OSError):
    """The cache folder cannot be written; the message names it, the reason and the remedy."""


def cache_folder() -> Path:
    """Return ``$COUNTERPOINT_CACHE``, else ``counterpoint`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    chosen = os.environ.get("COUNTERPOINT_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "counterpoint"


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
