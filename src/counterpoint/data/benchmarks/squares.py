"""Winoground, BiVLC, InpaintCOCO and MMVP-VLM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from .base import SquareBenchmark, fields, folder_of_pictures, read_csv, read_json, shards
from .pictures import Column, Files, Pictures

PROMPT = "a photo of {}"
"""Prompt that MMVP-VLM puts its statements into."""


def winoground(path: Path, size: int) -> SquareBenchmark:
    """Winoground, in either form of its publication.

    - ``examples.jsonl`` in PATH or ``PATH/data``: a line per item with ``id``, ``image_0``, ``image_1`` (names
      without ``.png``), ``caption_0``, ``caption_1`` and ``collapsed_tag``; pictures in a folder ``images`` beside.
    - Parquet files with the same columns, pictures inside.

    The kind is the collapsed tag: Object, Relation or Both.

    Source: Thrush et al. (2022), arXiv 2204.03162.
    """
    name = f"winoground:{path}"
    wanted = ("image_0", "image_1", "caption_0", "caption_1", "collapsed_tag")
    lines = [p for p in (path / "examples.jsonl", path / "data" / "examples.jsonl") if p.is_file()]
    pictures: tuple[Pictures, Pictures]
    if not lines:
        files, frame = shards(path, wanted, "winoground")
        pictures = Column(files, "image_0"), Column(files, "image_1")
        records = list(zip(*(frame[column] for column in wanted[2:]), strict=True))
    else:
        rows = [fields(r, wanted, f"{lines[0]}, line {k}") for k, r in enumerate(read_json(lines[0]), 1)]
        folder = folder_of_pictures(lines[0].parent, ("images",), "winoground")
        first, second = ([_png(folder / str(row[side])) for row in rows] for side in (0, 1))
        pictures = Files(first), Files(second)
        records = [tuple(row[2:]) for row in rows]
    captions, kinds = [(a, b) for a, b, _ in records], [kind for *_, kind in records]
    return SquareBenchmark(name, pictures, captions, kinds, size)


def bivlc(path: Path, size: int) -> SquareBenchmark:
    """BiVLC: Parquet files in PATH or ``PATH/data``, pictures inside.

    Columns ``image``, ``caption``, ``negative_caption``, ``negative_image``, ``type`` (replace, swap, add) and
    ``subtype``; the kind is both. Picture 0 is a photograph, picture 1 generated.

    Source: Miranda et al. (2024), arXiv 2406.09952.
    """
    wanted = ("image", "caption", "negative_caption", "negative_image", "type", "subtype")
    files, frame = shards(path, wanted, "bivlc")
    pairs = list(zip(frame["caption"], frame["negative_caption"], strict=True))
    kinds = [_kind(a, b) for a, b in zip(frame["type"], frame["subtype"], strict=True)]
    pictures = Column(files, "image"), Column(files, "negative_image")
    return SquareBenchmark(f"bivlc:{path}", pictures, pairs, kinds, size)


def inpaintcoco(path: Path, size: int) -> SquareBenchmark:
    """InpaintCOCO: Parquet files in PATH or ``PATH/data``, pictures inside.

    Columns ``concept`` (the kind: colour, object, size), ``coco_caption``, ``coco_image``, ``inpaint_caption`` and
    ``inpaint_image``; others are not read. Items without both captions are left out.

    Source: Rösch et al. (2024), arXiv 2403.02875.
    """
    wanted = ("concept", "coco_caption", "coco_image", "inpaint_caption", "inpaint_image")
    files, frame = shards(path, wanted, "inpaintcoco")
    texts = frame.select(pl.col("concept", "coco_caption", "inpaint_caption").fill_null("").str.strip_chars())
    there = np.flatnonzero(((texts["coco_caption"] != "") & (texts["inpaint_caption"] != "")).to_numpy())
    kept = texts[there]
    left_out = len(texts) - len(kept)
    return SquareBenchmark(
        f"inpaintcoco:{path}",
        (Column(files, "coco_image", there), Column(files, "inpaint_image", there)),
        list(zip(kept["coco_caption"], kept["inpaint_caption"], strict=True)),
        kept["concept"].to_list(),
        size,
        note={"left out": f"{left_out} items without a caption"} if left_out else None,
    )


def mmvp(path: Path, size: int) -> SquareBenchmark:
    """MMVP-VLM: ``Questions.csv`` and the folder ``MLLM_VLM Images`` in PATH.

    The table has a header and the columns question's number, type (one of nine patterns) and statement; rows 1 and
    2 are a pair, rows 3 and 4 the next. The picture of a statement is ``MLLM_VLM Images/TYPE/NUMBER.jpg``. Captions
    are ``"a photo of "`` and the statement, as in the released evaluation.

    Source: Tong et al. (2024), arXiv 2401.06209.
    """
    table, folder = path / "Questions.csv", path / "MLLM_VLM Images"
    for needed in (table, folder):
        if not needed.exists():
            raise FileNotFoundError(
                f"mmvp: no {needed.name} in {path}: give a copy of MMVP-VLM, with Questions.csv and the folder "
                "'MLLM_VLM Images'"
            )
    rows = read_csv(table)[1:]
    if len(rows) % 2 or any(len(row) != 3 for row in rows):
        raise ValueError(
            f"{table}: expected an even number of rows of number, type, statement; found {len(rows)} rows"
        )
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    for one, two in pairs:
        if one[1] != two[1]:
            raise ValueError(f"{table}: questions {one[0]} and {two[0]} are a pair of different types")
    first, second = (
        Files([folder / pair[0][1] / f"{pair[side][0]}.jpg" for pair in pairs]) for side in (0, 1)
    )
    captions = [(PROMPT.format(one[2]), PROMPT.format(two[2])) for one, two in pairs]
    return SquareBenchmark(f"mmvp:{path}", (first, second), captions, [one[1] for one, _ in pairs], size)


def _png(place: Path) -> Path:
    return place if place.suffix else place.with_name(f"{place.name}.png")


def _kind(family: str, detail: str) -> str:
    """Return ``("swap", "att")`` or ``("swap", "swap_att")`` as ``"swap att"``."""
    return f"{family} {detail.removeprefix(family).strip('_- ')}".strip()
