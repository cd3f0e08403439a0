"""Momentum contrast with the key as a second anchor, and with the hardest keys of the queue alone."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Natural, NonNegative, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, Top, TopK
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile
from ._bank import against, chosen, no_other, others


class DualViewLoss(PairwiseLoss):
    """Query and key are both anchors, each against the m keys of the queue most similar to it.

        loss = mean [ ℓ(q, k) + λ_k ℓ(k, q) ],
        ℓ(a, b) = −log [ exp(<a, b>/τ) / ( exp(<a, b>/τ) + Σ_n exp(<a, n>/τ) ) ],   n of the hardest m for a

    Keys and queue get no gradient, so that ℓ(k, q) draws the query to its key, the more the more confusable
    the key is, and pushes it nowhere. λ_k must stay small: at 1 the queries collapse. The two ways to have
    both views as anchors:

    ==============  ======================================================================================
    symmetric       λ_k = 0, called for the queries of either view with the keys of the other; both losses
                    averaged. Attraction and repulsion for both views.
    key as anchor   λ_k = 0.1, called once
    ==============  ======================================================================================

    The choice of keys is made on similarities without gradient. It gathers false negatives: of many
    near-duplicates of an anchor, a small m takes little else. With all keys and λ_k = 0 this is `MoCoLoss`.

    The text of the paper does not give m and λ_k; the defaults are ours.

    Args:
        temperature: τ; a number is fixed.
        num_hard: m, from 1 a number of keys, below 1 a share of the queue (rounded up); more than there are,
            or None, takes all.
        skip_top: how many of the most similar keys are passed over before the m are taken.
        key_weight: λ_k.

    Raises:
        ValueError: for ``num_hard`` of 0 or less, negative ``skip_top`` or λ_k, a queue of which ``skip_top``
            leaves nothing, and what `MoCoLoss` refuses.

    Source: Hoang et al., "Momentum Contrastive Learning with Enhanced Negative Sampling and Hard Negative
    Filtering" (2025), arXiv 2501.16360.

    >>> x = torch.eye(8)                              # the key at 1, one of four in the queue: log(1 + 1 / e)
    >>> round(DualViewLoss(temperature=1.0, num_hard=0.25)(x[:2], x[:2], x[4:]).item(), 4)
    0.3133
    """

    family = "queue"
    stop_gradient = True
    papers = ("moco-dual-view",)

    def __init__(
        self,
        temperature: Positive | Temperature = 0.2,
        *,
        num_hard: Positive | None = 0.125,
        skip_top: Natural = 0,
        key_weight: NonNegative = 0.0,
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.2))
        self.num_hard, self.skip_top, self.key_weight = num_hard, skip_top, key_weight

    def forward(
        self,
        q: Float[Tensor, "B d"],
        k: Float[Tensor, "B d"],
        queue: Float[Tensor, "K d"],
        ids: Int[Tensor, " B"] | None = None,
        queue_ids: Int[Tensor, " K"] | None = None,
        *,
        filtered: bool = True,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm queries, their keys, and the queue, the same on every rank.

        Args:
            q, k: the queries and their keys.
            queue: the keys of earlier steps.
            ids, queue_ids: the items; keys of the anchor's own are no negatives.
            filtered: False takes all keys, as long as some are random vectors, say.
        """
        q, k = paired(q=q, k=k)
        q, k = self.temperature.scale(q), k.detach()
        positive = dot(q, k)

        def view(anchors: Tensor) -> Tensor:
            negatives = self._negatives(anchors, queue, ids, queue_ids, filtered)
            return torch.logaddexp(positive, negatives) - positive

        loss = view(q)
        if self.key_weight:
            loss = loss + self.key_weight * view(self.temperature.scale(k))
        return self.mean(loss)

    def _negatives(
        self, anchors: Tensor, queue: Tensor, ids: Tensor | None, queue_ids: Tensor | None, filtered: bool
    ) -> Tensor:
        """Return log Σ exp of each anchor's negatives."""
        rows, columns = against(anchors, queue, ids, queue_ids)
        size, skip = len(queue), self.skip_top if filtered else 0
        if skip >= size:
            raise ValueError(f"skip_top={skip} leaves none of the {size} keys of the queue; lower it")
        m = size
        if filtered and self.num_hard is not None:
            count = self.num_hard * size if self.num_hard < 1 else self.num_hard
            m = max(math.ceil(count - 1e-9), 1)  # 0.07 · 100 is 7.000000000000001
        hardest = min(skip + m, size)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits = tile.dot()
            negatives = others(tile, logits)
            if hardest == size and not skip:
                return {"row": {"all": LogSumExp(negatives)}}
            return {"row": {"hardest": TopK(negatives, hardest, logits)}}

        if hardest == size and not skip:
            r = self.reduce(terms, rows=rows, columns=columns, same_columns=True)
            return r.row.all
        with torch.no_grad():
            top: Top = self.reduce(terms, rows=rows, columns=columns, same_columns=True).row.hardest
        logits = chosen(anchors, columns["z"], top.indices, top.values)
        return LogSumExp(logits.masked_fill(no_other(top, rows, columns), NEG)[:, skip:]).dense(1)
