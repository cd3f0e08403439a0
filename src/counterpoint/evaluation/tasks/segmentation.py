"""Segmentation without training: each pixel has a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ...data.embeddings import EmbeddingCache
from ...data.items import Regions
from ...types import MapsPhrases, Metric
from ..item_scores import classes
from ..maps import enlarge, labelling
from ..statistic import mean, mean_per_class
from ._regions import Masks, Outcomes, Places, RegionTask


@final
class Segmentation(RegionTask):
    """Zero-shot segmentation: each pixel goes to the name of highest similarity.

    The names are all distinct phrases of the test set and ``background``; where several are equally similar the pixel
    goes to none. So phrases should be names of classes, and a phrase's region everything in the picture that it
    names. ``iou``: mean intersection over union of a phrase's pixels with its region; ``miou``: the mean over
    phrases of the mean within the phrase. Chance is what pixels that choose a name at random expect. A model with maps
    of phrases of its own (`counterpoint.types.MapsPhrases`) is asked for these in place of similarities.

    Args:
        background: names for what is no thing; none leaves every pixel to some phrase.
        kinds: of items, such as ``look`` of scenes; those that the data has by default unless given.

    Source: zero-shot segmentation with CLIP's patch features, as in Zhou et al., "Extract Free Dense Labels from
    CLIP" (2022), arXiv 2112.01071.
    """

    family = "localization"
    name = "segmentation"
    primary = "iou"

    def __init__(
        self, background: tuple[str, ...] = ("background",), kinds: tuple[str, ...] | None = None
    ) -> None:
        self.background, self.kinds = background, kinds

    def patches_of(
        self, features: EmbeddingCache, pictures: UInt8[Tensor, "k 3 H W"], items: Regions
    ) -> Places:
        """Return the embeddings of places; of a model with maps of its own, how far each name applies there."""
        if isinstance(features.model, MapsPhrases):
            return features.model.phrase_maps(pictures, self._names(items)).float().cpu().permute(0, 2, 3, 1)
        return super().patches_of(features, pictures, items)

    def outcomes(
        self, features: EmbeddingCache, patches: Places, phrases: Sequence[str], masks: Masks, items: Regions
    ) -> Outcomes:
        names = self._names(items)
        number = {name: k for k, name in enumerate(names)}
        size = (masks.shape[1], masks.shape[2])
        if isinstance(features.model, MapsPhrases):
            labels = list(enlarge(patches.permute(0, 3, 1, 2), size).argmax(1))
        else:
            embedded = features.texts(names)
            labels = [labelling(features, grid, embedded, size)[0] for grid in patches]
        predicted = torch.stack(
            [label == number[phrase] for label, phrase in zip(labels, phrases, strict=True)]
        )
        shared = (predicted & masks).double().sum((1, 2))
        union = (predicted | masks).double().sum((1, 2)).clamp(min=1)
        return {"iou": (shared / union).numpy(), "area": masks.double().mean((1, 2)).numpy()}

    def measured(self, outcomes: Outcomes, items: Regions) -> tuple[Outcomes, Mapping[str, Metric]]:
        p, area, phrase = 1 / len(self._names(items)), outcomes["area"], classes(items.phrases)
        guess = p * area / (p + area - p * area)
        there = ~np.isnan(area)
        return {**outcomes, "phrase": np.where(there, phrase, np.nan)}, {
            "iou": Metric("iou", mean, chance=float(np.nanmean(guess))),
            "miou": Metric(
                ("phrase", "iou"),
                mean_per_class,
                chance=mean_per_class(np.stack([phrase, guess], 1)[there]),
            ),
        }

    def _names(self, items: Regions) -> list[str]:
        return list(dict.fromkeys([*items.phrases, *self.background]))
