"""From what a user writes after ``--data`` to a data set."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ..registry import unknown
from .base import PairedData
from .benchmarks import BENCHMARKS

NAMES = (
    *("emoji", "emoji:artist", "emoji:stream", "scenes:PRESET", "clips:PRESET", "sounds:PRESET"),
    *(f"{name}:PATH" for name in BENCHMARKS.names()),
)
"""Data sets that ship with the package, and benchmarks read from a user's copy; anything else is a path."""


@lru_cache(maxsize=4)
def load(source: str, image_size: int = 48) -> PairedData:
    """A data set by its name, a public benchmark (``winoground:PATH``), or a folder or a table of pairs.

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
    if name == "scenes" or name.startswith("scenes,"):
        from .scenes.world import Scenes

        return Scenes.parse(source, image_size)
    if name == "clips" or name.startswith("clips,"):
        from .scenes.motion.world import Clips

        return Clips.parse(source)
    if name == "sounds" or name.startswith("sounds,"):
        from .scenes.sound.world import Sounds

        return Sounds.parse(source)
    if split and name in BENCHMARKS:
        if not Path(split).exists():
            raise FileNotFoundError(f"{name}: there is no file or folder {split}")
        benchmark: PairedData = BENCHMARKS.get(name)(Path(split), round(image_size * 4 / 3))
        return benchmark
    if (Path(source) / "scenes.json").exists():
        from .scenes import shards

        return shards.read(Path(source))
    if Path(source).exists():
        from .pairs import Pairs

        return Pairs(source, round(image_size * 4 / 3))
    if any(mark in source for mark in "/\\."):
        raise FileNotFoundError(
            f"no data at {source!r}: expected a folder, a CSV, TSV, JSONL or Parquet file, or a tar file"
        )
    raise unknown("data set", source, NAMES)
