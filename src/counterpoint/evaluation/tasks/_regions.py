"""Regions: does the map of a phrase's similarity with the places of a picture show where the thing is?

All need a model with ``embed_patches``; `maps_of` asks one with ``phrase_maps`` for its own maps. Maps are
interpolated to the pixels of the square that the tower is shown;
what lies outside of it is not asked about.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from torch import Tensor

from ...data.base import Data, Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import Regions
from ...types import Embedder, Metric, Scores
from ..item_scores import BATCH, batches, item_scores, items_of
from ..maps import centre_square
from ..task import EmbedderTask

Outcomes = dict[str, np.ndarray]
Pictures = UInt8[Tensor, "k 3 H W"]
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


class RegionTask(EmbedderTask):
    """A score on phrases and the parts of pictures that they speak of; an item without such a part has none.

    Subsets are the kinds of items, or, where these are all of one kind, how large a part of the picture it is.

    Raises:
        NotApplicableError: if the data has no regions, or the model no embeddings of places.
    """

    name: str
    primary: str
    modalities = ("image", "text")
    form = Regions
    kinds: tuple[str, ...] | None = None

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        items = items_of(features, Regions, rows, self.name, self.kinds)
        parts: list[Outcomes] = []
        sizes: list[str] = []
        for positions in batches(len(items), BATCH):
            masks = centre_square(items.masks(positions))
            phrases = [items.phrases[k] for k in positions]
            columns = self.outcomes(features, items.pictures(positions), phrases, masks, items)
            area = masks.flatten(1).double().mean(1).numpy()
            sizes += [size_of(share) for share in area.tolist()]
            there = area > 0
            parts.append({name: np.where(there, values, np.nan) for name, values in columns.items()})
        outcomes = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        several = len(set(items.kinds)) > 1
        return item_scores(self.name, items, *self.measured(outcomes, items), None if several else sizes)

    @abstractmethod
    def outcomes(
        self,
        features: EmbeddingCache,
        pictures: Pictures,
        phrases: Sequence[str],
        masks: Masks,
        items: Regions,
    ) -> Outcomes:
        """Compute the outcomes of some items."""

    @abstractmethod
    def measured(self, outcomes: Outcomes, items: Regions) -> tuple[Outcomes, Mapping[str, Metric]]:
        """Return the metrics over all items, and the outcomes they read."""
