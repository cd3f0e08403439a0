"""Segmentation without training: each pixel has a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch

from ...data.embeddings import EmbeddingCache
from ...data.items import Regions
from ...types import Metric
from ..item_scores import classes
from ..maps import labelling, place_embeddings
from ..statistic import mean, mean_per_class
from ._regions import Masks, Outcomes, Pictures, RegionTask


@final
class Segmentation(RegionTask):
    """Zero-shot segmentation: each pixel goes to the name of highest similarity.

    The names are all distinct phrases of the test set and ``background``; where several are equally similar the pixel
    goes to none. So phrases should be names of classes, and a phrase's region everything in the picture that it
    names. ``iou``: mean intersection over union of a phrase's pixels with its region; ``miou``: the mean over
    phrases of the mean within the phrase. Chance is what pixels that choose a name at random expect.

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

    def outcomes(
        self,
        features: EmbeddingCache,
        pictures: Pictures,
        phrases: Sequence[str],
        masks: Masks,
        items: Regions,
    ) -> Outcomes:
        patches = place_embeddings(features, pictures, self.name)
        names = self._names(items)
        embedded, number = features.texts(names), {name: k for k, name in enumerate(names)}
        size = (masks.shape[1], masks.shape[2])
        predicted = torch.stack(
            [
                labelling(features, grid, embedded, size)[0] == number[phrase]
                for grid, phrase in zip(patches, phrases, strict=True)
            ]
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
