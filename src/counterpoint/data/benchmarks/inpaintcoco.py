"""InpaintCOCO: minimal pairs of a photograph and its inpainted copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from ._base import MinimalPairsBenchmark, shards
from ._pictures import ParquetPictures

PAPERS = {"inpaintcoco": ("read",)}


def read(path: Path, size: int) -> MinimalPairsBenchmark:
    """Read InpaintCOCO: Parquet files in PATH or ``PATH/data``, pictures inside.

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
    return MinimalPairsBenchmark(
        f"inpaintcoco:{path}",
        (ParquetPictures(files, "coco_image", there), ParquetPictures(files, "inpaint_image", there)),
        list(zip(kept["coco_caption"], kept["inpaint_caption"], strict=True)),
        kept["concept"].to_list(),
        size,
        note={"left out": f"{left_out} items without a caption"} if left_out else None,
    )
