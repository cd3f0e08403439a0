"""MMVP-VLM: minimal pairs in nine visual patterns."""

from __future__ import annotations

from pathlib import Path

from ._base import MinimalPairsBenchmark, read_csv
from ._pictures import PictureFiles

PAPERS = {"mmvp": ("read",)}

PROMPT = "a photo of {}"
"""Prompt that MMVP-VLM puts its statements into."""


def read(path: Path, size: int) -> MinimalPairsBenchmark:
    """Read MMVP-VLM: ``Questions.csv`` and the folder ``MLLM_VLM Images`` in PATH.

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
        PictureFiles([folder / pair[0][1] / f"{pair[side][0]}.jpg" for pair in pairs]) for side in (0, 1)
    )
    captions = [(PROMPT.format(one[2]), PROMPT.format(two[2])) for one, two in pairs]
    return MinimalPairsBenchmark(
        f"mmvp:{path}", (first, second), captions, [one[1] for one, _ in pairs], size
    )
