"""Texts of users: in UTF-8, in UTF-16, or in what Windows used to write."""

from __future__ import annotations

import codecs
import io
import json
import re

from ....reasons import counted
from .._ledger import Ledger
from .locations import opened

GUESSED = "not UTF-8, read as Windows-1252"
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
UNKNOWN = ("nan", "na", "n/a", "null", "none", "?")
"""Words, in small letters, that programs write among numbers where nothing is known."""
_POINT = 2  # numbers
_HALF = re.compile("[\ud800-\udfff]")  # of a character, as JSON has it whose texts were cut
_TRANSLATION = re.compile(r"[a-z]{2,3}([_@-]\w+)*\.utf8=", re.IGNORECASE)


def encoding(location: str, part: bytes | None = None) -> str:
    """Return the encoding of a text file; ``"cp1252"`` is a guess, made where it can be nothing else.

    Args:
        location: of the file.
        part: of its content, which alone is looked at; all of it unless given.

    Raises:
        ValueError: if the file is no text.
    """
    with opened(location) if part is None else io.BytesIO(part) as file:
        start = file.read(1024)
        marked = _marked(start)
        if marked:
            return marked
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while block := file.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            if b"\0" in start:
                raise ValueError(f"{location} is no text: save it as UTF-8") from None
            return "cp1252"
    return "utf-8"


def opened_text(location: str, ledger: Ledger, part: bytes | None = None) -> io.TextIOWrapper:
    """Open a text file, or a part of it that is read already, in its encoding; enter a guess into the ledger."""
    coding = encoding(location, part)
    if coding == "cp1252":
        ledger.add("guessed", GUESSED, location)
    file = opened(location) if part is None else io.BytesIO(part)
    return io.TextIOWrapper(file, encoding=coding, errors="replace", newline="")


def decoded(content: bytes, ledger: Ledger, file: object, row: object = "") -> str:
    """Return a small text, and enter a guess of its encoding into the ledger."""
    try:
        return content.decode(_marked(content) or "utf-8")
    except UnicodeDecodeError:
        ledger.add("guessed", GUESSED, file, row)
        return content.decode("cp1252", errors="replace")


def caption_lines(text: str, ledger: Ledger, file: object, row: object = "") -> tuple[str, ...]:
    """Return the captions of a text, one a line; translations (``de.utf8=…``) are none."""
    lines = [line.strip() for line in io.StringIO(text, newline=None) if line.strip()]
    captions = tuple(line for line in lines if not _TRANSLATION.match(line))
    if len(captions) < len(lines):
        ledger.add(
            "passed over",
            "translations",
            file,
            row,
            f"{counted(len(lines) - len(captions), 'line')}, no captions",
        )
    return captions


def as_text(value: object) -> str | None:
    """Return a value as a text; None for a blank one, and for lists and objects, which name no class."""
    if isinstance(value, str):
        return _HALF.sub("\N{REPLACEMENT CHARACTER}", value).strip() or None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else None


def label_text(value: object) -> str | None:
    """Return what a label says as a text: `as_text`, or a list of words or of two numbers as JSON.

    >>> label_text(["red", "round"]), label_text([0.5, 0.25]), label_text([0.1] * 512), label_text([])
    ('["red", "round"]', '[0.5, 0.25]', None, '[]')
    """
    if not isinstance(value, list):
        return as_text(value)
    words = all(isinstance(one, str) for one in value)
    point = len(value) == _POINT and all(isinstance(one, int | float) for one in value)
    return as_text(json.dumps(value, ensure_ascii=False)) if words or point else None


def _marked(start: bytes) -> str | None:
    for mark, name in _BOMS.items():
        if start.startswith(mark):
            return name
    if len(start) >= 4 and start[1::2].count(0) > len(start) / 4 and start[0] and not start[1]:
        return "utf-16-le"
    if len(start) >= 4 and start[::2].count(0) > len(start) / 4 and start[1] and not start[0]:
        return "utf-16-be"
    return None
