"""The pointing game: the place of highest similarity, and how far a region stands out of its map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np

from ...data.embeddings import EmbeddingCache
from ...data.items import Regions
from ...types import Metric
from ..grounding import contrast_to_noise, pointing
from ..maps import maps_of
from ..statistic import mean
from ._regions import Masks, Outcomes, Pictures, RegionTask


@final
class Pointing(RegionTask):
    """The pointing game: is the place of highest similarity inside the region?

    ``hit``: of several equally high places, the fraction inside; chance is the mean area of the regions. ``centre``:
    what always pointing at the middle of the picture scores. ``contrast_to_noise``: how far the map inside the region
    stands out from the map outside (`contrast_to_noise`), darker or brighter; not of a map that is one value.

    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop" (2016), arXiv 1608.00507; the ratio from
    Boecking et al., "Making the Most of Text Semantics to Improve Biomedical Vision-Language Processing" (2022), arXiv
    2204.09817.
    """

    family = "localization"
    name = "pointing"
    primary = "hit"

    def outcomes(
        self,
        features: EmbeddingCache,
        pictures: Pictures,
        phrases: Sequence[str],
        masks: Masks,
        items: Regions,
    ) -> Outcomes:
        maps = maps_of(features, pictures, phrases, (masks.shape[1], masks.shape[2]), self.name)
        middle = masks.shape[1] // 2
        return {
            "hit": pointing(maps, masks),
            "contrast_to_noise": contrast_to_noise(maps, masks),
            "area": masks.double().mean((1, 2)).numpy(),
            "centre": masks[:, middle, middle].double().numpy(),
        }

    def measured(self, outcomes: Outcomes, items: Regions) -> tuple[Outcomes, Mapping[str, Metric]]:
        chance = float(np.nanmean(outcomes["area"]))
        return outcomes, {
            "hit": Metric("hit", mean, chance=chance),
            "centre": Metric("centre", mean, chance=chance),
            "contrast_to_noise": Metric("contrast_to_noise", mean),
        }
