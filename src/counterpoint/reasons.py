"""One clear line for an error: what failed, and what to do about it."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence

from .extras import missing_extra

_EXPECTED = (ValueError, OSError, ImportError, RuntimeError, ArithmeticError)
"""Errors whose text is written for the user."""
_REMEDIES = {
    errno.ENOSPC: "free some space there, or choose another folder",
    errno.EDQUOT: "free some space there, or choose another folder",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "mend its permissions, or choose another folder",
    errno.EPERM: "mend its permissions, or choose another folder",
    errno.EISDIR: "it is a folder; name a file",
    errno.EMFILE: "allow more open files (ulimit -n)",
}

CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters except newline and tab, characters that change the direction of writing, and lone surrogates."""


def printable(text: str) -> str:
    r"""Write the control characters of a text as escapes, so that a terminal does not obey them.

    >>> print(printable("red: \x1b[31m"))
    red: \x1b[31m
    """
    return CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def reason(error: BaseException) -> str:
    """Return what failed and what to do about it, in a line.

    >>> reason(OSError(errno.ENOSPC, "No space left on device", "runs/one/run.json"))
    'runs/one/run.json: No space left on device: free some space there, or choose another folder'
    """
    if (line := missing_extra(error)) is not None:
        return line
    text = str(error) or type(error).__name__
    if out_of_memory(error):
        return (
            "there is not enough memory for a step: a smaller --microbatch gives the same gradient in less, a smaller "
            f"--batch-size another one ({text.splitlines()[0]})"
        )
    if isinstance(error, RuntimeError) and text.startswith("DataLoader worker"):
        return (
            "a process that prepares batches has died, as one does that the system finds too large: fewer --workers "
            f"need less memory; the same command goes on from the last checkpoint ({text.splitlines()[0]})"
        )
    if isinstance(error, OSError) and error.errno in _REMEDIES and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}: {_REMEDIES[error.errno]}"
    if isinstance(error, _EXPECTED):
        return text
    return f"{type(error).__name__}: {text} (set COUNTERPOINT_TRACEBACK=1 to see where)"


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is used up, of the processor or of a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("alloc_cpu.cpp" in text or "CUDA out of memory" in text)


def sized(count: int) -> str:
    """Write a number of bytes.

    >>> sized(3 * 2**10), sized(3 * 2**20), sized(3 * 2**29)
    ('3 KB', '3 MB', '1.5 GB')
    """
    if count >= 2**30:
        return f"{count / 2**30:.1f} GB"
    return f"{count / 2**20:.0f} MB" if count >= 2**20 else f"{count / 2**10:.0f} KB"


def counted(n: int, noun: str) -> str:
    """Write a number of things; a noun that ends in one s, as series does, is its own plural.

    >>> counted(1, "seed"), counted(3, "seed"), counted(3, "series"), counted(3, "class")
    ('1 seed', '3 seeds', '3 series', '3 classes')
    """
    ending = "es" if noun.endswith("ss") else "" if noun.endswith("s") else "s"
    return f"{n:,} {noun}{ending if n != 1 else ''}"


def between(least: float, greatest: float, digits: int = 0) -> str:
    """Write a range of numbers, or one number where both ends are rounded to the same.

    >>> between(7.66, 9.2, 1), between(51.7, 52.3)
    ('7.7 to 9.2', '52')
    """
    first, last = f"{least:.{digits}f}", f"{greatest:.{digits}f}"
    return first if first == last else f"{first} to {last}"


def in_unit(length: float, units: str) -> str:
    """Write a length in units, which are given in the plural.

    >>> in_unit(1, "frames"), in_unit(12, "frames"), in_unit(1.42, "seconds")
    ('1 frame', '12 frames', '1.42 seconds')
    """
    number = f"{length:,.3g}"
    return f"{number} {units.removesuffix('s') if number == '1' else units}"


def a_second(pairs: float) -> str:
    """Write pairs a second, of which few have two digits.

    >>> a_second(1234.5), a_second(0.114)
    ('1,234', '0.11')
    """
    return f"{pairs:,.0f}" if pairs >= 10 else f"{pairs:.2g}"


def listing(names: Sequence[str], last: str = "and") -> str:
    """Join names with commas, and the last name with a word.

    >>> listing(["clip", "siglip", "slip"], "or")
    'clip, siglip or slip'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def share_in_words(rows: int, left_out: int) -> str:
    """Return on how many rows an arm trains.

    >>> share_in_words(2400, 1600), share_in_words(4000, 0)
    ('2,400 of 4,000', '4,000')
    """
    return f"{rows:,} of {rows + left_out:,}" if left_out else f"{rows:,}"
