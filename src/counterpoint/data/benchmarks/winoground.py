"""Winoground: minimal pairs of the same words in another order."""

from __future__ import annotations

from pathlib import Path

from ._base import MinimalPairsBenchmark, fields, folder_of_pictures, read_json, shards
from ._pictures import NumberedPictures, ParquetPictures, PictureFiles


def read(path: Path, size: int) -> MinimalPairsBenchmark:
    """Read Winoground, in either form of its publication.

    - ``examples.jsonl`` in PATH or ``PATH/data``: a line per item with ``id``, ``image_0``, ``image_1`` (names
      without ``.png``), ``caption_0``, ``caption_1`` and ``collapsed_tag``; pictures in a folder ``images`` beside.
    - Parquet files with the same columns, pictures inside.

    The kind is the collapsed tag: Object, Relation or Both.

    Source: Thrush et al. (2022), arXiv 2204.03162.
    """
    name = f"winoground:{path}"
    wanted = ("image_0", "image_1", "caption_0", "caption_1", "collapsed_tag")
    lines = [p for p in (path / "examples.jsonl", path / "data" / "examples.jsonl") if p.is_file()]
    pictures: tuple[NumberedPictures, NumberedPictures]
    if not lines:
        files, frame = shards(path, wanted, "winoground")
        pictures = ParquetPictures(files, "image_0"), ParquetPictures(files, "image_1")
        records = list(zip(*(frame[column] for column in wanted[2:]), strict=True))
    else:
        rows = [fields(r, wanted, f"{lines[0]}, line {k}") for k, r in enumerate(read_json(lines[0]), 1)]
        folder = folder_of_pictures(lines[0].parent, ("images",), "winoground")
        first, second = ([_png(folder / str(row[side])) for row in rows] for side in (0, 1))
        pictures = PictureFiles(first), PictureFiles(second)
        records = [tuple(row[2:]) for row in rows]
    captions, kinds = [(a, b) for a, b, _ in records], [kind for *_, kind in records]
    return MinimalPairsBenchmark(name, pictures, captions, kinds, size)


def _png(path: Path) -> Path:
    return path if path.suffix else path.with_name(f"{path.name}.png")
