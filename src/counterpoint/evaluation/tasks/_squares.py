"""Squares: two pictures, two captions, and which goes with which.

With s(I, C) the similarity of a picture and a caption, an item asks four questions, each right only by a strict
inequality (ties up to rounding are wrong, so a bag of words gets nothing where two captions share their words):

    picture 0: s(I₀, C₀) > s(I₀, C₁)        caption 0: s(I₀, C₀) > s(I₁, C₀)
    picture 1: s(I₁, C₁) > s(I₁, C₀)        caption 1: s(I₁, C₁) > s(I₀, C₁)

Both about the pictures right is Winoground's *text score* (a text is chosen), both about the captions its *image
score*; the *group score* is all four. For exchangeable random similarities each single question is right by
chance with probability 1/2, both of a direction with 1/4, all four with 1/6.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from ...data.base import Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import MinimalPairs
from ...data.pictured import PairedData
from ...types import Embedder, Metric, Scores
from ..item_scores import beats, by_head, item_scores, items_of, square_similarities
from ..statistic import mean
from ..task import EmbedderTask

SINGLE, BOTH, GROUP = 1 / 2, 1 / 4, 1 / 6
"""The chance of a single decision, of both decisions of one side, and of all four."""

Outcomes = dict[str, np.ndarray]
Answers = Bool[np.ndarray, "n 2"]
"""Two marks for each item: right or wrong answers about the item's first and second picture (or caption)."""
Answered = tuple[Outcomes, dict[str, Metric]]


def decisions(similarities: Float[Tensor, "n 2 2"]) -> tuple[Answers, Answers]:
    """Decide for each question about the pictures and about the captions whether the answer is right.

    Args:
        similarities: ``[k, i, c]`` of picture i and caption c.

    >>> import torch
    >>> of_pictures, of_captions = decisions(torch.tensor([[[0.9, 0.1], [0.8, 0.7]]]))
    >>> of_pictures.tolist(), of_captions.tolist()
    ([[True, False]], [[True, True]])
    """
    right = similarities.diagonal(dim1=1, dim2=2)
    other_caption = similarities.flip(2).diagonal(dim1=1, dim2=2)
    other_picture = similarities.flip(1).diagonal(dim1=1, dim2=2)
    return beats(right, other_caption).numpy(), beats(right, other_picture).numpy()


class SquareTask(EmbedderTask):
    """A score on squares, made of the four decisions.

    ``margin``, an outcome of all these tasks, is the least lead of a right pair over a wrong one. Models that score
    pairs jointly have each number by that score too, as ``group[joint]``.

    Raises:
        NotApplicableError: if the data has no squares.
    """

    name: str
    primary: str
    modalities = ("image", "text")
    form = MinimalPairs
    joint = True

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        items = items_of(features, MinimalPairs, rows, self.name)
        return item_scores(
            self.name, items, *by_head(features, lambda head: self._scored(features, items, head))
        )

    def _scored(self, features: EmbeddingCache, items: MinimalPairs, head: str) -> Answered:
        """Return the outcomes and the metrics of one head."""
        similarities = square_similarities(features, items, head)
        outcomes, metrics = self.answered(*decisions(similarities), items)
        right = similarities.diagonal(dim1=1, dim2=2).amin(1)
        wrong = similarities.flip(2).diagonal(dim1=1, dim2=2).amax(1)
        outcomes["margin"] = (right - wrong).double().numpy()
        return outcomes, metrics

    @abstractmethod
    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        """Return outcomes per item and the metrics over them, from the right answers about pictures and captions."""


def both(answers: Answers) -> Bool[np.ndarray, " n"]:
    return answers[:, 0] & answers[:, 1]


def shares(outcomes: Outcomes, chances: Mapping[str, float]) -> dict[str, Metric]:
    """Return the mean of each named outcome."""
    return {name: Metric(name, mean, chance=chance) for name, chance in chances.items() if name in outcomes}


def three_scores(pictures: Answers, captions: Answers, image: str = "image") -> Answered:
    """Return Winoground's text score, its image score (named for what captions choose among) and the group's."""
    text, other = both(pictures), both(captions)
    outcomes: Outcomes = {"text": text, image: other, "group": text & other}
    return outcomes, shares(outcomes, {"text": BOTH, image: BOTH, "group": GROUP})
