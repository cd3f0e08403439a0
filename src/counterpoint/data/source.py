"""From what a user writes after ``--data`` to a data set."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ..registry import unknown
from .base import PairedData

NAMES = ("emoji", "emoji:artist")
"""Data sets that ship with the package; anything else is a path."""


@lru_cache(maxsize=4)
def load(source: str, image_size: int = 48) -> PairedData:
    """A data set by its name (``emoji``, ``emoji:artist``), or from a folder or a table of pairs.

    Args:
        source: the name or the path.
        image_size: of the views that will be cut from the pictures; files are stored a third larger.

    Raises:
        UnknownName: for a name that is neither a data set nor an existing path.
        ValueError: if the files hold no usable pairs.
    """
    name, _, split = source.partition(":")
    if name == "emoji":
        from .emoji import Emoji

        return Emoji(split or "default")
    if Path(source).exists():
        from .pairs import Pairs

        return Pairs(source, round(image_size * 4 / 3))
    if any(mark in source for mark in "/\\."):
        raise FileNotFoundError(
            f"no data at {source!r}: expected a folder or a CSV, TSV, JSONL or Parquet file"
        )
    raise unknown("data set", source, NAMES)
