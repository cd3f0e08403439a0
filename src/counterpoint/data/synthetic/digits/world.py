"""The ``digits`` data set: scikit-learn's handwritten digits, and sentences that say how each is written."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ...base import Rows, Splits
from ...labels import Classes
from ...pictured import PairedData

TRAINED, SPARE = 1000, 200
"""Rows that train, and rows for validation; the others test."""
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STROKES = ("thin", "medium", "bold")
LEANS = ("leaning left", "upright", "leaning right")
TASKS = 5
"""Tasks of the stream, of two digits each."""


@final
class Digits(PairedData):
    """1,797 digits by 13 hands, 8 × 8 pixels, each with a sentence: "a bold three, leaning right".

    Stroke and lean are read from the pixels: thirds of all digits by their ink, and by the skew of the ink. So there
    are 84 sentences, and pictures of one sentence are right for each other. It needs no download, and a run under the
    recipe ``seconds`` takes seconds.

    With ``stream`` the rows to train on come in five tasks of two digits each, in their order, and test digits of the
    first task are a subset by themselves: what is forgotten of them shows there.

    >>> digits = Digits()
    >>> digits.captions(3)
    ['a thin three, leaning left']
    >>> {name: len(rows) for name, rows in digits.splits.test.items()}
    {'held out': 597}

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository
    (1998), its test part, as scikit-learn ships it; CC BY 4.0.
    """

    def __init__(self, stream: bool = False) -> None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        self.name = "digits:stream" if stream else "digits"
        self.ids = np.arange(len(pixels))
        self.attribution = "Digits: Alpaydin and Kaynak, UCI Machine Learning Repository, CC BY 4.0"
        order = np.random.default_rng(0).permutation(len(pixels))
        train, spare, test = np.split(order, [TRAINED, TRAINED + SPARE])
        task = digits.target * TASKS // len(NAMES)
        tasks = [train[task[train] == number] for number in range(TASKS)] if stream else []
        self.splits = Splits(train, {"held out": spare}, {"held out": test}, tasks)
        if stream:
            self.subsets = np.where(task == 0, "first task", "later tasks")
        self.labels = {
            "digit": Classes(NAMES, digits.target.astype(np.int64), ("a {}", "a handwritten {}")),
            "stroke": Classes(STROKES, _thirds(digits.images.mean((1, 2))), ("a {} digit",)),
            "lean": Classes(LEANS, _thirds(skew(digits.images)), ("a digit, {}",)),
        }
        self._pictures = torch.from_numpy(pixels)[:, None].expand(-1, 3, -1, -1)

    @classmethod
    def parse(cls, source: str) -> Digits:
        """Return the digits, which are written ``digits``, or ``digits:stream`` for training in tasks."""
        if source not in {"digits", "digits:stream"}:
            raise ValueError(f"{source!r}: digits has no options; write digits or digits:stream")
        return cls(stream=source != "digits")

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 8 8"]:
        return self._pictures[torch.from_numpy(np.asarray(rows))]

    def captions(self, row: int) -> list[str]:
        digit, stroke, lean = (labels.names[labels.values[row]] for labels in self.labels.values())
        return [f"a {stroke} {digit}, {lean}"]


def skew(images: Float[np.ndarray, "n 8 8"]) -> Float[np.ndarray, " n"]:
    """Return how far the ink of each picture moves to the right for each pixel up: covariance over variance."""
    ink = images / images.sum((1, 2), keepdims=True)
    x, up = np.arange(8.0), np.arange(8.0)[::-1, None]
    right = x - (ink * x).sum((1, 2), keepdims=True)
    above = up - (ink * up).sum((1, 2), keepdims=True)
    covariance = (ink * right * above).sum((1, 2))
    variance = (ink * above**2).sum((1, 2))
    return covariance / variance


def _thirds(values: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return for each value whether it is of the lowest, the middle or the highest third."""
    return np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values, side="right").astype(np.int64)
