"""BiVLC: minimal pairs of a photograph and a generated picture."""

from __future__ import annotations

from pathlib import Path

from ._base import MinimalPairsBenchmark, shards
from ._pictures import ParquetPictures

PAPERS = {"bivlc": ("read",)}


def read(path: Path, size: int) -> MinimalPairsBenchmark:
    """Read BiVLC: Parquet files in PATH or ``PATH/data``, pictures inside.

    Columns ``image``, ``caption``, ``negative_caption``, ``negative_image``, ``type`` (replace, swap, add) and
    ``subtype``; the kind is both. Picture 0 is a photograph, picture 1 generated.

    Source: Miranda et al. (2024), arXiv 2406.09952.
    """
    wanted = ("image", "caption", "negative_caption", "negative_image", "type", "subtype")
    files, frame = shards(path, wanted, "bivlc")
    pairs = list(zip(frame["caption"], frame["negative_caption"], strict=True))
    kinds = [_kind(a, b) for a, b in zip(frame["type"], frame["subtype"], strict=True)]
    pictures = ParquetPictures(files, "image"), ParquetPictures(files, "negative_image")
    return MinimalPairsBenchmark(f"bivlc:{path}", pictures, pairs, kinds, size)


def _kind(family: str, detail: str) -> str:
    """Return ``("swap", "att")`` or ``("swap", "swap_att")`` as ``"swap att"``."""
    return f"{family} {detail.removeprefix(family).strip('_- ')}".strip()
