"""Counting of things by the choice among captions that differ in the number."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from ..types import Scores

WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
NUMBERS = {word: number for number, word in enumerate(WORDS)} | {"no": 0, "a": 1, "an": 1}
"""The number that each word says."""


def numbers_said(options: Sequence[str], where: str = "the options") -> Int[np.ndarray, " options"]:
    """Read the number in which captions differ, in each of them.

    Words from ``zero`` to ``twelve``, digits, ``no`` (0) and ``a`` (1) are numbers.

    >>> numbers_said(["a photo of two dogs", "a photo of a dog", "a photo of no dogs"]).tolist()
    [2, 1, 0]

    Raises:
        ValueError: if they differ in none or in several, or two say the same one.
    """
    rows = [
        [NUMBERS[w] if w in NUMBERS else int(w) for w in _words(option) if w in NUMBERS or w.isdecimal()]
        for option in options
    ]
    if len({len(numbers) for numbers in rows}) == 1:
        varying = [column for column in zip(*rows, strict=True) if len(set(column)) > 1]
        if len(varying) == 1 and len(set(varying[0])) == len(options):
            return np.array(varying[0])
    raise ValueError(
        f"{where}: counting needs captions that differ in one number, each in another, got {list(options)}"
    )


def confusion(
    scores: Scores,
) -> tuple[Int[np.ndarray, " numbers"], Float[np.ndarray, "numbers numbers"]]:
    """Return the numbers that occur, and a matrix of how often each is said; the rows are true numbers and sum to 1.

    Numbers that are never the true one have rows of NaN.

    Args:
        scores: what `CountBench` returned.
    """
    pairs = scores.examples.select(pl.col("number").cast(pl.Int64), pl.col("said").cast(pl.Int64))
    numbers = np.unique(pairs.to_numpy())
    counts = np.zeros((len(numbers), len(numbers)))
    np.add.at(
        counts, tuple(np.searchsorted(numbers, pairs[name].to_numpy()) for name in ("number", "said")), 1
    )
    with np.errstate(invalid="ignore"):
        return numbers, counts / counts.sum(1, keepdims=True)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+|\d+", text.lower())
