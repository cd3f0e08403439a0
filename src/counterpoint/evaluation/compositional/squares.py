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
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from ...data.base import PairedData, Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import MinimalPairs
from ...types import Embedder, Metric, Scores
from ..statistic import magnitude, mean, mean_per_class
from ..task import Task
from .asking import beats, classes, item_scores, items_of, square_similarities

SINGLE, BOTH, GROUP = 1 / 2, 1 / 4, 1 / 6
"""Chance levels."""

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


class SquareTask(Task):
    """A score on squares, made of the four decisions.

    ``margin``, an outcome of all these tasks, is the least lead of a right pair over a wrong one.

    Raises:
        NotApplicable: if the data has no squares.
    """

    name: str
    primary: str
    modalities = ("image", "text")
    form = MinimalPairs

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        items = items_of(features, MinimalPairs, rows, self.name)
        similarities = square_similarities(features, items)
        outcomes, metrics = self.answered(*decisions(similarities), items)
        right = similarities.diagonal(dim1=1, dim2=2).amin(1)
        wrong = similarities.flip(2).diagonal(dim1=1, dim2=2).amax(1)
        outcomes["margin"] = (right - wrong).double().numpy()
        return item_scores(self.name, items, outcomes, metrics)

    @abstractmethod
    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        """Outcomes per item and the metrics over them, from the right answers about pictures and captions."""


def _both(answers: Answers) -> Bool[np.ndarray, " n"]:
    return answers[:, 0] & answers[:, 1]


def _shares(outcomes: Outcomes, chances: Mapping[str, float]) -> dict[str, Metric]:
    """The mean of each named outcome."""
    return {name: Metric(name, mean, chance=chance) for name, chance in chances.items() if name in outcomes}


def _three_scores(pictures: Answers, captions: Answers, image: str = "image") -> Answered:
    """Winoground's text score, its image score under the name of what the captions choose among, and the group's."""
    text, other = _both(pictures), _both(captions)
    outcomes: Outcomes = {"text": text, image: other, "group": text & other}
    return outcomes, _shares(outcomes, {"text": BOTH, image: BOTH, "group": GROUP})


@final
class Winoground(SquareTask):
    """Winoground's scores: ``text``, ``image`` and ``group``.

    Source: Thrush et al., "Winoground: Probing Vision and Language Models for Visio-Linguistic Compositionality"
    (2022), arXiv 2204.03162.
    """

    name = "winoground"
    primary = "group"

    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        return _three_scores(pictures, captions)


@final
class BiVLC(SquareTask):
    """BiVLC's scores: the four decisions, ``i2t`` (both pictures), ``t2i`` (both captions) and ``group``.

    ``picture_gap`` is how much more often one of the two pictures wins by itself: \\|mean(caption_0 − caption_1)\\|,
    0 at best. Where pictures 0 are photographs and pictures 1 are generated, a model that prefers photographs has
    caption 0 right and caption 1 wrong.

    Source: Miranda et al., "BiVLC: Extending Vision-Language Compositionality Evaluation with Text-to-Image
    Retrieval" (2024), arXiv 2406.09952.
    """

    name = "bivlc"
    primary = "group"
    papers = ("bivlc",)

    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        i2t, t2i = _both(pictures), _both(captions)
        outcomes = {f"picture_{i}": pictures[:, i] for i in (0, 1)}
        outcomes |= {f"caption_{i}": captions[:, i] for i in (0, 1)}
        chances = dict.fromkeys(outcomes, SINGLE) | {"i2t": BOTH, "t2i": BOTH, "group": GROUP}
        outcomes |= {"i2t": i2t, "t2i": t2i, "group": i2t & t2i}
        metrics = _shares(outcomes, chances)
        outcomes["picture_gap"] = captions[:, 0].astype(float) - captions[:, 1]
        metrics["picture_gap"] = Metric("picture_gap", magnitude, higher_is_better=False, chance=0.0)
        return outcomes, metrics


@final
class MMVP(SquareTask):
    """MMVP-VLM's score: a pair counts if each of its statements picks its own picture of the two.

    ``pair_accuracy`` over all pairs; ``mean_over_patterns``, the paper's average, over the kinds of pairs; and
    ``single``, the share of statements that pick their own picture. A model that does not look gets 0 of the
    pairs, below chance.

    Source: Tong et al., "Eyes Wide Shut? Exploring the Visual Shortcomings of Multimodal LLMs" (2024), arXiv
    2401.06209; ties, which the released script gives to the second picture, are wrong here.
    """

    name = "mmvp"
    primary = "pair_accuracy"
    papers = ("mmvp",)

    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        pair = _both(captions)
        outcomes = {"pair_accuracy": pair, "single": captions.mean(1)}
        outcomes["pattern"] = classes(items.kinds)
        metrics = _shares(outcomes, {"pair_accuracy": BOTH, "single": SINGLE})
        metrics["mean_over_patterns"] = Metric(("pattern", "pair_accuracy"), mean_per_class, chance=BOTH)
        return outcomes, metrics


@final
class InpaintCOCO(SquareTask):
    """InpaintCOCO's scores: ``text``, ``image``, ``group``, and single decisions of either direction.

    ``text_single`` is the share of pictures that choose their caption, ``image_single`` the share of captions that
    choose their picture. Picture and caption 0 are the original ones, 1 the edited ones.

    Source: Rösch et al., "Enhancing Conceptual Understanding in Multimodal Contrastive Learning through Hard
    Negative Samples" (2024), arXiv 2403.02875.
    """

    name = "inpaintcoco"
    primary = "group"
    papers = ("inpaintcoco",)

    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        outcomes, metrics = _three_scores(pictures, captions)
        singles = {"text_single": pictures.mean(1), "image_single": captions.mean(1)}
        return outcomes | singles, metrics | _shares(singles, dict.fromkeys(singles, SINGLE))


@final
class CompA(SquareTask):
    """CompA's scores on two sounds and two captions: ``text`` (each sound chooses its caption), ``audio`` (each caption
    its sound) and ``group``; sounds reach the embedder as pictures of their spectrograms.

    A bag of words scores 0 where two captions share their words, which is below chance.

    Source: Ghosh et al., "CompA: Addressing the Gap in Compositional Reasoning in Audio-Language Models" (2023),
    arXiv 2310.08753.
    """

    name = "compa"
    primary = "group"
    papers = ("compa",)

    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        return _three_scores(pictures, captions, "audio")
