"""Room on a disk: it is taken before a file is filled, and a full disk is told with how much is needed and where."""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from .reasons import sized

_FULL = {errno.ENOSPC, errno.EDQUOT}


def allocate(file: Path) -> None:
    """Take all the room of a file on its disk before its pages are mapped and written.

    Where a page finds no room, the system ends the process without a word; a full disk is to be an error instead.

    Raises:
        OSError: if there is not so much room.
    """
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            try:
                os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
            except OSError as error:  # some file systems cannot do this
                if error.errno in _FULL:
                    raise


def unwritten(error: Exception, path: Path, size: int = 0, written: int = 0) -> Exception:
    """Return the error of a write as one that names the file, and says what room it takes where the disk is full.

    Args:
        error: of any library; returned as it is where it tells of nothing that the system refused.
        path: of what was to be written; the folder above it is there.
        size: about how many bytes it takes; 0 where that is not known.
        written: how many of them were written and have been removed.
    """
    number = _number(error)
    # A text names a number of whatever failed inside, a store's perhaps; that the disk is full is told of this file.
    if number is None or not (isinstance(error, OSError) or number in _FULL):
        return error
    text = os.strerror(number)
    if number in _FULL:
        taken = f"about {sized(size)}" if size else f"more than {sized(written)}" if written else ""
        room = [f"it takes {taken}"] if taken else []
        if number == errno.ENOSPC:  # of a quota, what the disk has free says nothing
            with suppress(OSError):
                room.append(f"{sized(shutil.disk_usage(path.parent).free)} are free there")
        text += f" ({', and '.join(room)})" if room else ""
    return OSError(number, text, str(path))


def _number(error: BaseException) -> int | None:
    """Return the system's number of an error, also of one that a library tells in words alone."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if match := re.search(r"\(os error (\d+)\)", str(error)):
        return int(match[1])
    if re.search(r"\d+ requested and \d+ written", str(error)):  # numpy's words
        return errno.ENOSPC
    return next((number for number in _FULL if os.strerror(number) in str(error)), None)
