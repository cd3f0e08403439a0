"""Localisation: a box around what a phrase speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, final

import numpy as np
import torch
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from ...data.embeddings import EmbeddingCache
from ...data.items import Regions
from ...types import Metric
from ..maps import box_iou, boxes, maps_of
from ..statistic import mean
from ._regions import Masks, Outcomes, Pictures, RegionTask


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

    family = "localization"
    name = "localisation"
    primary = "iou"

    def __init__(self, threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5) -> None:
        self.threshold = threshold

    def outcomes(
        self,
        features: EmbeddingCache,
        pictures: Pictures,
        phrases: Sequence[str],
        masks: Masks,
        items: Regions,
    ) -> Outcomes:
        maps = maps_of(features, pictures, phrases, (masks.shape[1], masks.shape[2]), self.name)
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
    """Return the highest intersection over union of a box with a mask's box or one of its parts'."""
    parts = boxes(mask)
    if not parts:
        return float("nan")
    left, top, right, bottom = zip(*parts, strict=True)
    return max(box_iou(box, one) for one in [(min(left), min(top), max(right), max(bottom)), *parts])
