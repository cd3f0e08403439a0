"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_ABANDONED = 3600.0  # seconds after which an unfinished file can belong to no live writer


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and goes when it does not.

    The last step is one rename, so a reader finds a whole file or none, and two processes that write the same file
    at once do no harm.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full; what was there before is intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(".*.part"):
        with suppress(OSError):  # another process may have removed it first
            if left.is_file() and time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()
    part = path.parent / f".{path.name}.{os.getpid()}-{time.monotonic_ns()}.part"
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest of a folder's checkpoints, each a folder ``step-N`` that is complete if it is there."""
    found = [p for p in folder.glob("step-*") if p.is_dir()] if folder.is_dir() else []
    return max(found, key=lambda p: int(p.name.removeprefix("step-")), default=None)


def digest_of_file(path: Path) -> str:
    """Return a digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Replace a text file as a whole."""
    with writing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file as a whole."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
