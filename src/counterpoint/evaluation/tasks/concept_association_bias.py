"""Concept association bias: with two things in the picture, is one said to have the other's attribute?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.base import Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import Associations
from ...data.pictured import PairedData
from ...types import Embedder, Metric, Scores
from ..item_scores import answer_shares, batches, item_scores, items_of
from ..statistic import mean
from ..task import EmbedderTask, similarity

KEEP = 512
"""Pictures that a calibration compares with at once."""


@final
class ConceptAssociationBias(EmbedderTask):
    """The attribute that a model gives to a thing beside another thing: its own, the other thing's, or a third.

    Each item is a thing and, in its options, what could be said of it (``"the color of the lemon is purple"`` …).
    The options of highest similarity share the answer. On pictures of the thing alone ``alone`` is the share of its
    own attribute; on pictures of two things ``own``, ``other`` and ``third`` are the shares of the three cases.

        cab = (other − own + 1) / 2             0: always its own, ½: no preference, 1: always the other's
        cab_soft = mean σ(scale · (s(other's) − s(own)))

    ``other`` and ``own`` both near 1/options are ignorance, not bias. ``…_calibrated`` are the same after the mean
    similarity of each option with the pictures that show neither thing is subtracted, which removes a liking for
    some words; they are missing where there are no such pictures.

    Args:
        scale: of similarities in a softmax over options; CLIP's is 100.

    Raises:
        NotApplicableError: if the data has no such items.
        ValueError: if no picture shows two things, or the two have one attribute.

    Source: Yamada et al., "When are Lemons Purple? The Concept Association Bias of CLIP" (2022), arXiv 2212.12043.
    The formula of its own index could not be checked; ``cab`` follows from the same shares.
    """

    family = "compositionality"
    name = "concept_association_bias"
    primary = "cab"
    modalities = ("image", "text")
    form = Associations
    papers = ("concept-association-bias",)

    def __init__(self, scale: float = 100.0) -> None:
        self.scale = scale

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        items = items_of(features, Associations, rows, self.name)
        answers, others = items.answers, items.others
        if not (others >= 0).any() or (answers == others).any():
            raise ValueError(
                f"{self.name} of {data.name!r} needs pictures of two things, with different attributes"
            )
        pictures = torch.cat([features.pictures(items.pictures(k)) for k in batches(len(items))])
        options = [features.texts(own_options) for own_options in items.options]
        plain = [
            similarity(features, picture[None], texts)[0]
            for picture, texts in zip(pictures, options, strict=True)
        ]
        liked = _liking(features, items, pictures, options)
        outcomes = tally(plain, items, self.scale)
        calibrated = tally([s - b for s, b in zip(plain, liked, strict=True)], items, self.scale)
        outcomes |= {f"{name}_calibrated": values for name, values in calibrated.items()}
        guess = np.array([1 / len(s) for s in plain])
        both = others >= 0
        alone = [name for name in ("alone", "alone_calibrated") if (~both).any()]
        metrics = {name: Metric(name, mean, chance=mean(guess[~both])) for name in alone}
        for suffix in ("", "_calibrated"):
            metrics |= {
                f"own{suffix}": Metric(f"own{suffix}", mean, chance=mean(guess[both])),
                f"other{suffix}": Metric(
                    f"other{suffix}", mean, higher_is_better=False, chance=mean(guess[both])
                ),
                f"third{suffix}": Metric(
                    f"third{suffix}", mean, higher_is_better=False, chance=mean(1 - 2 * guess[both])
                ),
                f"cab{suffix}": Metric(f"cab{suffix}", mean, higher_is_better=False, chance=0.5),
                f"cab_soft{suffix}": Metric(f"cab_soft{suffix}", mean, higher_is_better=False, chance=0.5),
            }
        return item_scores(self.name, items, outcomes, metrics)


def tally(
    similarities: Sequence[Float[Tensor, " _"]], items: Associations, scale: float = 100.0
) -> dict[str, np.ndarray]:
    """Count each item's outcomes from the similarities of its options; NaN where an item is not of their kind.

    ``alone`` for things by themselves; for two things ``own``, ``other``, ``third``, ``cab``, ``cab_soft``, ``margin``.

    Args:
        similarities: of each item's options with its picture.
        items: what is asked.
        scale: of similarities in a softmax over options.
    """
    shares = [answer_shares(s) for s in similarities]
    of_answer = np.array([share[a] for share, a in zip(shares, items.answers, strict=True)])
    both = items.others >= 0
    of_other = np.array([share[max(b, 0)] for share, b in zip(shares, items.others, strict=True)])
    lead = np.array(
        [
            float(s[max(b, 0)] - s[a])
            for s, a, b in zip(similarities, items.answers, items.others, strict=True)
        ]
    )
    beside = {
        "own": of_answer,
        "other": of_other,
        "third": 1 - of_answer - of_other,
        "cab": (of_other - of_answer + 1) / 2,
        "cab_soft": 1 / (1 + np.exp(np.clip(-scale * lead, -700, 700))),
        "margin": -lead,
    }
    outcomes = {name: np.where(both, values, np.nan) for name, values in beside.items()}
    return outcomes | {"alone": np.where(both, np.nan, of_answer)}


def _liking(
    features: EmbeddingCache, items: Associations, pictures: Float[Tensor, "n d"], options: list[Tensor]
) -> list[Float[Tensor, " _"]]:
    """Return the mean similarity of each item's options with the pictures that show none of its things; NaN without."""
    shown = [set(things) for things in items.things]
    liked = []
    for things, texts in zip(shown, options, strict=True):
        without = torch.tensor([not things & those for those in shown])
        if not without.any():
            liked.append(torch.full((len(texts),), torch.nan))
            continue
        parts = torch.split(pictures[without], KEEP)
        total = torch.stack([similarity(features, part, texts).double().sum(0) for part in parts]).sum(0)
        liked.append((total / without.sum()).float())
    return liked
