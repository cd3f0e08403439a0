"""Shards that were written here: the note of the columns that they hold, and the kinds of the files in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

NOTE = "COUNTERPOINT.columns"
"""The key of the note: in the schema of a Parquet file, in the first header of a tar file."""

_BEGINNINGS = {
    "wav": rb"RIFF.{4}WAVE",
    "flac": rb"fLaC",
    "ogg": rb"OggS",
    "mp3": rb"ID3|\xff[\xe2-\xff]",
    "aiff": rb"FORM.{4}AIF",
    "mp4": rb".{4}ftyp",
    "mkv": rb"\x1a\x45\xdf\xa3",
    "avi": rb"RIFF.{4}AVI ",
    "gif": rb"GIF8",
    "webp": rb"RIFF.{4}WEBP",
    "png": rb"\x89PNG",
    "jpg": rb"\xff\xd8\xff",
    "npy": rb"\x93NUMPY",
    "edf": rb"0 {7}",
    "bdf": rb"\xffBIOSEMI",
}


def noted(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the note of some columns, each with its modality, as metadata of a file."""
    return {NOTE: json.dumps(dict(columns))}


def columns_noted(metadata: Mapping[Any, Any]) -> dict[str, str]:
    """Return the columns that a file's metadata note, each with its modality; none where there is no note.

    >>> columns_noted(noted({"wrist": "series"})), columns_noted({})
    ({'wrist': 'series'}, {})
    """
    return json.loads(metadata.get(NOTE) or metadata.get(NOTE.encode()) or "{}")


def ending_of(data: bytes) -> str:
    """Return the ending of files that begin so, without its dot; empty for a kind that is not known.

    >>> ending_of(b"RIFF\\x24\\0\\0\\0WAVEfmt "), ending_of(b"1,2,3:4,5,6")
    ('wav', '')
    """
    kinds = (kind for kind, start in _BEGINNINGS.items() if re.match(start, data[:16], re.DOTALL))
    return next(kinds, "")
