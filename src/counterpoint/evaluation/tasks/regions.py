"""Names of given regions: by the text tower, and by a linear probe."""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.base import Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import Regions
from ...data.pictured import PairedData
from ...forms import Count
from ...types import Embedder, Metric, RegionEmbedder, Scores
from ..classifiers import logistic
from ..item_scores import batches, item_scores, items_of
from ..maps import boxes, centre_square
from ..statistic import always_commonest, mean
from ..task import (
    EmbedderTask,
    NotApplicableError,
    check_rows,
    check_training,
    similarity,
    subsample_by_hash,
    top1,
)
from ._regions import size_of

BATCH = 64
"""Pictures embedded at once."""


class _Embedded(NamedTuple):
    """Embeddings of the boxes of some items.

    Attributes:
        rows: of the items, those with a box in the central square of their picture.
        shares: of the central square, that the region of each item of all covers.
    """

    z: Float[Tensor, "k d"]
    rows: Rows
    shares: Float[np.ndarray, " n"]


@final
class RegionNames(EmbedderTask):
    """Which name does a given region have?

    A region is the box around the largest connected part of an item's mask. Its embedding is that of
    ``embed_regions``. The names are all distinct phrases of the test items.

    ``named``: the share of regions that are most similar to the embedding of their own phrase; of several equally
    similar names one is drawn. ``read``: the accuracy of a logistic regression on embeddings of regions, trained on the
    regions of at most ``limit`` training rows (a fixed choice by the hash of their ids); a name that training lacks
    counts as wrong. Chance is 1/names; the best constant answer is the commonest name.

    Subsets are the kinds of items, or, where these are all of one kind, the size of the region. Regions outside the
    central square of their picture have no outcome.

    Args:
        side: in pixels, that pictures are resized to; that of training unless given.
        limit: training rows at most.

    Raises:
        NotApplicableError: if test or training rows have no regions, or the model has no embeddings of regions, or
            none of pictures of this side.
        ValueError: if there are no rows, or embeddings are not finite.
    """

    family = "localization"
    name = "regions"
    primary = "named"
    papers = ("ro-vit",)
    modalities = ("image", "text")
    form = Regions
    learns = True

    def __init__(self, side: Count | None = None, limit: Count = 500) -> None:
        self.side, self.limit = side, limit

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_training(self, data)
        features = EmbeddingCache.of(model, data)
        items = items_of(features, Regions, rows, self.name)
        train = data.splits.train
        chosen = train[subsample_by_hash(data, train, self.limit, self.name)]
        learnt = items_of(features, Regions, chosen, self.name)
        key = (self.name, self.side, self.limit)
        known = features.once((*key, "train"), lambda: self._embedded(features, learnt))
        asked = features.once((*key, rows.tobytes()), lambda: self._embedded(features, items))
        names = list(dict.fromkeys(items.phrases))
        number = {name: k for k, name in enumerate(dict.fromkeys([*names, *sorted(learnt.phrases)]))}
        true, trained = (
            np.array([number[of.phrases[k]] for k in embedded.rows.tolist()], dtype=np.int64)
            for of, embedded in ((items, asked), (learnt, known))
        )
        outcomes = {name: np.full(len(items), np.nan) for name in ("named", "read")}
        if len(asked.rows):
            near = similarity(features, asked.z, features.texts(names))
            outcomes["named"][asked.rows] = top1(near, torch.from_numpy(true))
        if len(asked.rows) and len(np.unique(trained)) > 1:
            read = logistic(known.z.numpy(), trained, asked.z.numpy(), len(number))
            outcomes["read"][asked.rows] = read == true
        constant = always_commonest(np.array([number[phrase] for phrase in items.phrases]))
        metrics = {
            name: Metric(name, mean, chance=1 / len(names), constant=constant) for name in ("named", "read")
        }
        sizes = [size_of(share) for share in asked.shares.tolist()]
        several = len(set(items.kinds)) > 1
        return item_scores(self.name, items, outcomes, metrics, None if several else sizes)

    def _embedded(self, features: EmbeddingCache, items: Regions) -> _Embedded:
        model = features.model
        if not isinstance(model, RegionEmbedder):
            raise NotApplicableError(
                f"{self.name} needs a model with embed_regions, which {type(model).__name__} is not"
            )
        parts: list[Tensor] = []
        asked: list[int] = []
        shares: list[float] = []
        for positions in batches(len(items), BATCH):
            whole = items.masks(positions)
            masks, sides = centre_square(whole), torch.tensor([whole.shape[2], whole.shape[1]])
            shares += masks.flatten(1).double().mean(1).tolist()
            seen = [k for k, mask in enumerate(masks) if mask.any()]
            if not seen:
                continue
            corners = torch.tensor([boxes(masks[k])[0] for k in seen]).view(-1, 2, 2)
            shown = ((corners + (sides - masks.shape[1]) // 2) / sides).flatten(1)
            pictures = items.pictures(positions[seen])
            try:
                z = model.embed_regions(pictures, shown[:, None], side=self.side)[:, 0]
            except (LookupError, ValueError) as error:
                raise NotApplicableError(
                    f"{self.name} asks about parts of pictures: {error.args[0] if error.args else error}"
                ) from error
            if not torch.isfinite(z).all():
                raise ValueError("the model's embeddings of regions are NaN or infinite, so none has a name")
            parts.append(z.detach().float().cpu())
            asked += positions[seen].tolist()
        z = torch.cat(parts) if parts else torch.zeros(0, 1)
        return _Embedded(z, np.array(asked, dtype=np.int64), np.array(shares))
