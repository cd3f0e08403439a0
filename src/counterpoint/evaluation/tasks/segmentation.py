"""Segmentation without training: each pixel has a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch

from ...data.embeddings import EmbeddingCache
from ...data.items import Regions
from ...types import Metric, NamesPatches
from ..item_scores import classes
from ..maps import enlarge, labelling, place_embeddings
from ..statistic import mean, mean_per_class
from ._regions import Masks, Outcomes, Pictures, RegionTask


@final
class Segmentation(RegionTask):
    """Zero-shot segmentation: each pixel goes to the name of highest similarity.

    The names are all distinct phrases of the test set and ``background``; where several are equally similar the pixel
    goes to none. So phrases should be names of classes, and a phrase's region everything in the picture that it
    names. ``iou``: mean intersection over union of a phrase's pixels with its region; ``miou``: the mean over
    phrases of the mean within the phrase. Chance is what pixels that choose a name at random expect. A model that names
    patches itself (`counterpoint.types.NamesPatches`) is asked for that in place of similarities.

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
        names, size = self._names(items), (masks.shape[1], masks.shape[2])
        number = {name: k for k, name in enumerate(names)}
        if isinstance(features.model, NamesPatches):
            labels = list(enlarge(features.model.name_maps(pictures, names).float().cpu(), size).argmax(1))
        else:
            patches, embedded = place_embeddings(features, pictures, self.name), features.texts(names)
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
