"""Regions: does the map of a phrase's similarity with the places of a picture show where the thing is?

All need a model with ``embed_patches``. Maps are interpolated to the pixels of the square that the tower is shown;
what lies outside of it is not asked about.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...data.base import PairedData, Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import Regions
from ...types import Embedder, Metric, Scores
from ..grounding import pointing
from ..statistic import mean, mean_per_class
from ..task import Task
from .asking import BATCH, batches, classes, item_scores, items_of
from .maps import box_iou, boxes, centre_square, labelling, phrase_maps, place_embeddings

Outcomes = dict[str, np.ndarray]
Places = Float[Tensor, "k h w d"]
Masks = Bool[Tensor, "k S S"]


SIZES = {"up to 3 %": 0.03, "3 to 10 %": 0.1, "over 10 %": 1.0}
"""The sizes of regions by name, each with the largest share of the picture that a region of this size takes."""


def size_of(share: float) -> str:
    """Return the name of the size of a region that takes this share of the picture.

    >>> [size_of(share) for share in (0.0, 0.02, 0.05, 0.5)]
    ['outside', 'up to 3 %', '3 to 10 %', 'over 10 %']
    """
    if share == 0:
        return "outside"
    return next(name for name, most in SIZES.items() if share <= most)


class RegionTask(Task):
    """A score on phrases and the parts of pictures that they speak of; an item without such a part has none.

    Subsets are the kinds of items, or, where these are all of one kind, how large a part of the picture it is.

    Raises:
        NotApplicable: if the data has no regions, or the model no embeddings of places.
    """

    name: str
    primary: str
    modalities = ("image", "text")
    form = Regions

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        items = items_of(features, Regions, rows, self.name)
        parts: list[Outcomes] = []
        sizes: list[str] = []
        for positions in batches(len(items), BATCH):
            masks = centre_square(items.masks(positions))
            places = place_embeddings(features, items.pictures(positions), self.name)
            phrases = [items.phrases[k] for k in positions]
            found = self.outcomes(features, places, phrases, masks, items)
            area = masks.flatten(1).double().mean(1).numpy()
            sizes += [size_of(share) for share in area.tolist()]
            there = area > 0
            parts.append({name: np.where(there, values, np.nan) for name, values in found.items()})
        outcomes = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        several = len(set(items.kinds)) > 1
        return item_scores(self.name, items, *self.measured(outcomes, items), None if several else sizes)

    @abstractmethod
    def outcomes(
        self, features: EmbeddingCache, places: Places, phrases: Sequence[str], masks: Masks, items: Regions
    ) -> Outcomes:
        """Compute the outcomes of some items."""

    @abstractmethod
    def measured(self, outcomes: Outcomes, items: Regions) -> tuple[Outcomes, Mapping[str, Metric]]:
        """The metrics over all items, and the outcomes they read."""


def _maps(
    features: EmbeddingCache, places: Places, phrases: Sequence[str], masks: Masks
) -> Float[Tensor, "k S S"]:
    return phrase_maps(features, places, features.texts(phrases), (masks.shape[1], masks.shape[2]))


@final
class Pointing(RegionTask):
    """The pointing game: is the place of highest similarity inside the region?

    ``hit``: of several equally high places, the fraction inside; chance is the mean area of the regions. ``centre``:
    what always pointing at the middle of the picture scores.

    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop" (2016), arXiv 1608.00507.
    """

    name = "pointing"
    primary = "hit"

    def outcomes(
        self, features: EmbeddingCache, places: Places, phrases: Sequence[str], masks: Masks, items: Regions
    ) -> Outcomes:
        maps = _maps(features, places, phrases, masks)
        middle = masks.shape[1] // 2
        return {
            "hit": pointing(maps, masks),
            "area": masks.double().mean((1, 2)).numpy(),
            "centre": masks[:, middle, middle].double().numpy(),
        }

    def measured(self, outcomes: Outcomes, items: Regions) -> tuple[Outcomes, Mapping[str, Metric]]:
        chance = float(np.nanmean(outcomes["area"]))
        return outcomes, {
            "hit": Metric("hit", mean, chance=chance),
            "centre": Metric("centre", mean, chance=chance),
        }


@final
class Segmentation(RegionTask):
    """Zero-shot segmentation: each pixel goes to the name of highest similarity.

    The names are all distinct phrases of the test set and ``background``; where several are equally similar the pixel
    goes to none. So phrases should be names of classes, and a phrase's region everything in the picture that it
    names. ``iou``: mean intersection over union of a phrase's pixels with its region; ``miou``: the mean over
    phrases of the mean within the phrase. Chance is what pixels that choose a name at random expect.

    Args:
        background: names for what is no thing; none leaves every pixel to some phrase.

    Source: zero-shot segmentation with CLIP's patch features, as in Zhou et al., "Extract Free Dense Labels from
    CLIP" (2022), arXiv 2112.01071.
    """

    name = "segmentation"
    primary = "iou"

    def __init__(self, background: tuple[str, ...] = ("background",)) -> None:
        self.background = background

    def outcomes(
        self, features: EmbeddingCache, places: Places, phrases: Sequence[str], masks: Masks, items: Regions
    ) -> Outcomes:
        names = self._names(items)
        embedded, number = features.texts(names), {name: k for k, name in enumerate(names)}
        size = (masks.shape[1], masks.shape[2])
        predicted = torch.stack(
            [
                labelling(features, own, embedded, size)[0] == number[phrase]
                for own, phrase in zip(places, phrases, strict=True)
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


@final
class Localisation(RegionTask):
    """A box around the brightest part of a phrase's map, against the box of the region.

    The map is scaled to 0 … 1; the box is drawn around the largest connected part that is above ``threshold``. It is
    compared with the boxes of the region and of each of its connected parts, and the best match counts. ``iou``:
    mean intersection over union; ``found``: the share with at least ½. The chance given is what the whole picture
    scores, which is also what a map without contrast gets.

    Args:
        threshold: between 0 and 1.

    Source: Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right" (2020), arXiv 2001.07437,
    at one fixed threshold.
    """

    name = "localisation"
    primary = "iou"

    def __init__(self, threshold: float = 0.5) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
        self.threshold = threshold

    def outcomes(
        self, features: EmbeddingCache, places: Places, phrases: Sequence[str], masks: Masks, items: Regions
    ) -> Outcomes:
        maps = _maps(features, places, phrases, masks)
        low, high = (f(maps, (1, 2), keepdim=True) for f in (torch.amin, torch.amax))
        bright = maps >= low + self.threshold * (high - low)
        whole = (0, 0, masks.shape[2], masks.shape[1])
        iou = np.array([_best(boxes(b)[0], mask) for b, mask in zip(bright, masks, strict=True)])
        return {
            "iou": iou,
            "found": np.where(iou >= 0.5, 1.0, 0.0),
            "whole": np.array([_best(whole, mask) for mask in masks]),
        }

    def measured(self, outcomes: Outcomes, items: Regions) -> tuple[Outcomes, Mapping[str, Metric]]:
        whole = outcomes["whole"][~np.isnan(outcomes["whole"])]
        return outcomes, {
            "iou": Metric("iou", mean, chance=mean(whole)),
            "found": Metric("found", mean, chance=mean((whole >= 0.5).astype(float))),
        }


def _best(box: tuple[int, int, int, int], mask: Bool[Tensor, "S S"]) -> float:
    """The highest intersection over union of a box with a mask's box or one of its parts'."""
    parts = boxes(mask)
    if not parts:
        return float("nan")
    left, top, right, bottom = zip(*parts, strict=True)
    return max(box_iou(box, one) for one in [(min(left), min(top), max(right), max(bottom)), *parts])
