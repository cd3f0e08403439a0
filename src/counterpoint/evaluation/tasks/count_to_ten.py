"""Counting: the right number among others."""

from __future__ import annotations

import math
from typing import final

import numpy as np
from jaxtyping import Int

from ...data.base import Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import Choices, Items
from ...data.pictured import PairedData
from ...types import Embedder, Metric, Scores
from ..counting import WORDS, numbers_said
from ..item_scores import (
    ROUNDING,
    item_scores,
    items_of,
    option_similarities,
    right_and_margin,
)
from ..statistic import mean
from ..task import EmbedderTask, NotApplicableError


@final
class CountBench(EmbedderTask):
    """CountBench's scores: which of the captions that differ in their number goes with the picture?

    ``accuracy``: the true number's caption beats all others (chance 1/9 with nine numbers). ``deviation``: mean
    \\|said − true\\|, lower is better; of several captions that come first together, their mean. Outcomes besides:
    ``number``, the true one, and ``said``, from which `confusion` makes its matrix.

    Raises:
        NotApplicableError: if the data has no choices, or the options of an item do not differ in one number.

    Source: Paiss et al., "Teaching CLIP to Count to Ten" (2023), arXiv 2302.12066.
    """

    family = "compositionality"
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
                "deviation",
                mean,
                higher_is_better=False,
                chance=mean(np.array([e.mean() for e in errors])),
                bounds=(0.0, math.inf),
            ),
        }
        kinds = [WORDS[number] if number < len(WORDS) else str(number) for number in true.tolist()]
        return item_scores(self.name, items, outcomes, metrics, kinds)

    def check_items(self, items: Items) -> None:
        """Raise `NotApplicableError` for an item whose options do not differ in one number."""
        assert isinstance(items, Choices)
        self._numbers(items)

    def _numbers(self, items: Choices) -> list[Int[np.ndarray, " options"]]:
        try:
            return [
                numbers_said(options, f"item {k}")
                for k, options in zip(items.ids.tolist(), items.options, strict=True)
            ]
        except ValueError as error:
            raise NotApplicableError(f"{self.name}: {error}") from error
