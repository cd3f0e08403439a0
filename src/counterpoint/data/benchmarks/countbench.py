"""CountBench: captions that say two to ten."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ._base import ChoicesBenchmark, shards
from ._pictures import ParquetPictures

_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def read(path: Path, size: int) -> ChoicesBenchmark:
    """Read CountBench: Parquet files in PATH or ``PATH/data`` with ``image``, ``text`` and ``number``.

    The options of an item are its caption with each number from two to ten in place of its own; the kind is the true
    number. Left out are rows whose picture is missing (about a tenth of the published file) and those whose caption
    does not say its number in one word exactly once.

    Source: Paiss et al. (2023), arXiv 2302.12066.
    """
    files, frame = shards(path, ("image", "text", "number"), "countbench")
    pictured = pl.concat(
        [
            pl.scan_parquet(f, glob=False).select(pl.col("image").struct.field("bytes").is_not_null())
            for f in files
        ]
    ).collect()
    rows, options, answers, kinds = [], [], [], []
    for row, (there, text, number) in enumerate(
        zip(pictured.to_series(), frame["text"], frame["number"], strict=True)
    ):
        captions = _with_numbers(text, number) if there else None
        if captions is not None:
            rows.append(row)
            options.append(captions)
            answers.append(int(number) - 2)
            kinds.append(_NUMBERS[int(number) - 2])
    left_out = len(frame) - len(rows)
    return ChoicesBenchmark(
        f"countbench:{path}",
        ParquetPictures(files, "image", np.array(rows, dtype=np.int64)),
        options,
        answers,
        kinds,
        size,
        note={"left out": f"{left_out} of {len(frame)} rows, without picture or number"}
        if left_out
        else None,
    )


def _with_numbers(text: Any, number: Any) -> list[str] | None:
    """Return a caption with each number in place of its own; None unless its own is there in a word, once and alone."""
    if not isinstance(text, str) or number is None or not 2 <= int(number) <= 10:
        return None
    matches = list(re.finditer(rf"\b{_NUMBERS[int(number) - 2]}\b", text, re.IGNORECASE))
    others = re.findall(rf"\b(?:{'|'.join(_NUMBERS)})\b", text, re.IGNORECASE)
    if len(matches) != 1 or len(others) != 1:
        return None
    start, end = matches[0].span()
    as_written = str.capitalize if text[start].isupper() else str.lower
    return [text[:start] + as_written(word) + text[end:] for word in _NUMBERS]
