"""MoCo with both views as anchors, against the hardest keys alone."""

from __future__ import annotations

from typing import Literal, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import BelowOne, Natural, NonNegative, Positive
from ..losses import DualViewLoss
from ..networks.base import Towers
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._queue import MomentumContrast, QueueOptions


class MoCoDualView(MomentumContrast):
    """`MoCo` under the loss `DualViewLoss`, of which there are two readings.

    ===============  =====================================================================================
    ``symmetric``    each view is query and key in turn; twice the passes of MoCo through the trained tower
    ``key_anchor``   one view gives the queries, and the keys of the other are anchors too, with λ_k
    ===============  =====================================================================================

    Before the queue is full of keys all of it is used. With ``noise`` keys of pictures of random pixels, drawn anew
    every step, enter the queue in the places of some others: the paper's question is what they cost. They are nobody's
    keys, and so negatives of every picture.

    Args:
        towers: the tower, by its column.
        recipe: gives the width of the keys: ``ssl_output``.
        temperature: τ; fixed.
        mode: which reading.
        num_hard: m, from 1 a number of keys, below 1 a share of the queue; None takes all.
        skip_top: how many of the most similar keys are passed over before the m are taken.
        key_weight: λ_k of ``key_anchor``; not near 1, where the queries collapse.
        noise: the share of a step's keys, to the nearest whole number, in whose places keys of noise enter the queue;
            on pictures alone.
        options: ``momentum`` (0.99) and ``queue`` (1,024).

    Raises:
        ValueError: for ``skip_top`` that leaves no key, and for ``noise`` on a column that holds no pictures.

    Source: Hoang et al., "Momentum Contrastive Learning with Enhanced Negative Sampling and Hard Negative
    Filtering" (2025), arXiv 2501.16360.
    """

    family = "queue"
    papers = ("moco-dual-view",)
    name = "dual_view"

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 0.2,
        mode: Literal["symmetric", "key_anchor"] = "symmetric",
        num_hard: Positive | None = 0.125,
        skip_top: Natural = 0,
        key_weight: NonNegative = 0.1,
        noise: BelowOne = 0.0,
        **options: Unpack[QueueOptions],
    ) -> None:
        symmetric = mode == "symmetric"
        # The other view is an anchor as a query then, and with gradient; as a key it would count twice.
        weight = 0.0 if symmetric else key_weight
        objective = DualViewLoss(temperature, num_hard=num_hard, skip_top=skip_top, key_weight=weight)
        super().__init__(towers, recipe, objective=objective, symmetric=symmetric, **options)
        keys = len(self.long_queue())
        if skip_top >= keys:
            raise ValueError(f"skip_top={skip_top} leaves none of the {keys} keys of the queue")
        ((column, tower),) = towers.items()
        if noise and tower.modality != "image":
            raise ValueError(
                f"noise={noise:g}: the column {column!r} holds no pictures, and noise is of pictures; leave it out"
            )
        self.noise = noise

    def contrast(
        self, q: Float[Tensor, "B d"], k: Float[Tensor, "B d"], batch: Batch, clock: StepInfo
    ) -> Float[Tensor, ""]:
        queue = self.long_queue()
        # The hardest of random vectors are hard by chance.
        return self.objective(q, k, queue.keys, batch.ids, queue.ids, filtered=queue.full)

    def arriving(self, z: Embeddings, batch: Batch) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]:
        keys, ids = super().arriving(z, batch)
        if self.noise:
            replaced = self._replaced(len(batch)).to(keys.device)
            pictures = torch.cat([batch[view] for _, view in self.query_and_key])[replaced]
            keys[replaced] = F.normalize(self.momentum(torch.rand_like(pictures)), dim=-1).to(keys.dtype)
            ids[replaced] = -1
        return keys, ids

    def _replaced(self, rows: int) -> Bool[Tensor, " n"]:
        """Return which of this rank's keys, of so many rows, go: evenly spread among those of all ranks and views."""
        ranks = Ranks.present()
        counts = ranks.counts(rows, self.long_queue().ids.device)
        views, whole = len(self.query_and_key), sum(counts)
        gone = (torch.arange(views * whole + 1) * self.noise).round().diff() > 0
        return gone.view(views, whole)[:, ranks.rows(counts)].flatten()
