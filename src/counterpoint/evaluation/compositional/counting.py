"""Counting of things by the choice among captions that differ in the number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import final

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from ...data.base import PairedData, Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import Choices, Items
from ...types import Embedder, Metric, Scores
from ..statistic import mean
from ..task import NotApplicable, Task
from .asking import ROUNDING, item_scores, items_of, option_similarities, right_and_margin

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


@final
class CountToTen(Task):
    """CountBench's scores: which of the captions that differ in their number goes with the picture?

    ``accuracy``: the true number's caption beats all others (chance 1/9 with nine numbers). ``deviation``: mean
    \\|said − true\\|, lower is better; of several captions that come first together, their mean. Outcomes besides:
    ``number``, the true one, and ``said``, from which `confusion` makes its matrix.

    Raises:
        NotApplicable: if the data has no choices, or the options of an item do not differ in one number.

    Source: Paiss et al., "Teaching CLIP to Count to Ten" (2023), arXiv 2302.12066.
    """

    name = "count_to_ten"
    primary = "accuracy"
    modalities = ("image", "text")
    form = Choices
    papers = ("count-to-ten",)

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        items = items_of(features, Choices, rows, self.name)
        numbers = self._numbers(items)
        similarities = option_similarities(features, items)
        right, margin = right_and_margin(similarities, items.answers)
        true = np.array([n[a] for n, a in zip(numbers, items.answers, strict=True)])
        errors = [np.abs(n - t) for n, t in zip(numbers, true, strict=True)]
        first = [(s > s.max() - ROUNDING).numpy() for s in similarities]
        outcomes = {
            "right": right,
            "deviation": np.array([e[best].mean() for e, best in zip(errors, first, strict=True)]),
            "number": true.astype(float),
            "said": np.array([float(n[best][0]) for n, best in zip(numbers, first, strict=True)]),
            "margin": margin,
        }
        metrics = {
            "accuracy": Metric("right", mean, chance=mean(np.array([1 / len(n) for n in numbers]))),
            "deviation": Metric(
                "deviation", mean, higher_is_better=False, chance=mean(np.array([e.mean() for e in errors]))
            ),
        }
        kinds = [WORDS[number] if number < len(WORDS) else str(number) for number in true.tolist()]
        return item_scores(self.name, items, outcomes, metrics, kinds)

    def check_items(self, items: Items) -> None:
        """Raise `NotApplicable` for an item whose options do not differ in one number."""
        assert isinstance(items, Choices)
        self._numbers(items)

    def _numbers(self, items: Choices) -> list[Int[np.ndarray, " options"]]:
        try:
            return [
                numbers_said(options, f"item {k}")
                for k, options in zip(items.ids.tolist(), items.options, strict=True)
            ]
        except ValueError as error:
            raise NotApplicable(f"{self.name}: {error}") from error


def numbers_said(options: Sequence[str], where: str = "the options") -> Int[np.ndarray, " options"]:
    """The number in which captions differ, in each of them.

    Words from ``zero`` to ``twelve``, digits, ``no`` (0) and ``a`` (1) are numbers.

    >>> numbers_said(["a photo of two dogs", "a photo of a dog", "a photo of no dogs"]).tolist()
    [2, 1, 0]

    Raises:
        ValueError: if they differ in none or in several, or two say the same one.
    """
    said = [
        [NUMBERS[w] if w in NUMBERS else int(w) for w in _words(option) if w in NUMBERS or w.isdecimal()]
        for option in options
    ]
    if len({len(own) for own in said}) == 1:
        varying = [place for place in zip(*said, strict=True) if len(set(place)) > 1]
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
        scores: what `CountToTen` returned.
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
