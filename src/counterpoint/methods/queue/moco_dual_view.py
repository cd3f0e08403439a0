"""MoCo with both views as anchors, against the hardest keys alone."""

from __future__ import annotations

from typing import Literal, Unpack

from jaxtyping import Float
from torch import Tensor

from ...forms import Natural, NonNegative, Positive
from ...losses import DualViewLoss
from ...networks.base import Towers
from ...recipes.schema import Recipe
from ...types import Batch, Clock
from ._base import MomentumContrast, QueueOptions


class MoCoDualView(MomentumContrast):
    """`MoCo` under the loss `DualViewLoss`, of which there are two readings.

    ===============  =====================================================================================
    ``symmetric``    each view is query and key in turn; twice the passes of MoCo through the trained tower
    ``key_anchor``   one view gives the queries, and the keys of the other are anchors too, with λ_k
    ===============  =====================================================================================

    Before the queue is full of keys all of it is used.

    Args:
        towers: the tower, by its column.
        recipe: gives the width of the keys: ``ssl_output``.
        temperature: τ; fixed.
        mode: which reading.
        num_hard: m, from 1 a number of keys, below 1 a share of the queue; None takes all.
        skip_top: how many of the most similar keys are passed over before the m are taken.
        key_weight: λ_k of ``key_anchor``; not near 1, where the queries collapse.
        options: ``momentum`` (0.99) and ``queue`` (1,024).

    Source: Hoang et al., "Momentum Contrastive Learning with Enhanced Negative Sampling and Hard Negative
    Filtering" (2025), arXiv 2501.16360.
    """

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
        **options: Unpack[QueueOptions],
    ) -> None:
        symmetric = mode == "symmetric"
        weight = 0.0 if symmetric else key_weight
        objective = DualViewLoss(temperature, num_hard=num_hard, skip_top=skip_top, key_weight=weight)
        super().__init__(towers, recipe, objective=objective, symmetric=symmetric, **options)
        keys = len(self.long_queue())
        if skip_top >= keys:
            raise ValueError(f"skip_top={skip_top} leaves none of the {keys} keys of the queue")

    def contrast(
        self, q: Float[Tensor, "B d"], k: Float[Tensor, "B d"], batch: Batch, clock: Clock
    ) -> Float[Tensor, ""]:
        queue = self.long_queue()
        return self.objective(q, k, queue.keys, batch.ids, queue.ids, filtered=queue.full)
