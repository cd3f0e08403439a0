"""Contrastive attraction and contrastive repulsion."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import BelowOne, NonNegative
from ..pairwise.inputs import paired_views, squared_distance
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import WeightedMean
from ..pairwise.tile import Tile


class CACRLoss(PairwiseLoss):
    """Far positives are drawn in harder, close negatives are driven off harder.

        loss = α · mean_{v,i} Σ_{u≠v} π⁺_u c(z_i^v, z_i^u)  −  β · mean_{v<u,i} Σ_{j≠i} π⁻_j c(z_i^v, z_j^u)

        c(a, b) = ‖a − b‖²,   π⁺ = softmax_u(+t⁺ c),   π⁻ = softmax_j(−t⁻ c)

    Positives are weighed among themselves, negatives among themselves; the two signs are opposite. t⁻ plays
    the part of 1/2τ, as c = 2 − 2 cos. t = 0 gives uniform weights, t → ∞ the farthest positive or the nearest
    negative alone. Negatives of a view are those of later views, so with two views the first one's anchors
    repel. The loss may be negative; it is bounded for unit-norm views only.

    With a prior τ⁺ that a negative is of the anchor's class, the expected cost of true negatives,
    ``(Σ_j π⁻_j c_ij − τ⁺ c_ii) / (1 − τ⁺)``, is repelled. (The released code has + τ⁺ c_ii there, which would
    repel the positive.)

    A batch of one has no negatives: the attraction alone is returned.

    Args:
        alpha, beta: α and β, ≥ 0.
        t_positive: t⁺ ≥ 0.
        t_negative: t⁻ ≥ 0; the paper's code has 0.9 on CIFAR-10, 2 on CIFAR-100 and STL-10.
        prior: τ⁺ in [0, 1); 0.1 in the paper's debiased variant.
        detach_weights: whether π⁺ and π⁻ carry no gradient, as in the paper's ImageNet code.

    Raises:
        ValueError: for a negative weight or t, a prior outside [0, 1), fewer than two views, or views that do
            not match.

    Source: Zheng et al., "Contrastive Attraction and Contrastive Repulsion for Representation Learning"
    (2021), arXiv 2105.03746.

    >>> x = torch.eye(2)                              # positives at distance 0, the one negative at 2
    >>> CACRLoss()(x, x, x).item()
    -2.0
    """

    family = "weighted"
    is_method = True
    many_views = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"t_negative": (0.5, 8.0)}
    papers = ("cacr",)

    def __init__(
        self,
        alpha: NonNegative = 1.0,
        beta: NonNegative = 1.0,
        *,
        t_positive: NonNegative = 1.0,
        t_negative: NonNegative = 2.0,
        prior: BelowOne = 0.0,
        detach_weights: bool = False,
    ) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta
        self.t_positive, self.t_negative = t_positive, t_negative
        self.prior, self.detach_weights = prior, detach_weights

    def forward(self, *views: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of two or more unit-norm views of the same examples."""
        z = paired_views(views)
        pairs = list(combinations(range(len(z)), 2))
        cost = {(v, u): squared_distance(z[v], z[u]) for v, u in pairs}
        attraction = []
        for v in range(len(z)):
            to_positives = torch.stack([cost[min(v, u), max(v, u)] for u in range(len(z)) if u != v])
            attraction.append(
                ((self.t_positive * self._weighing(to_positives)).softmax(0) * to_positives).sum(0)
            )
        loss = self.alpha * self.mean(torch.stack(attraction).mean(0))
        if self.count(z[0]) == 1:
            return loss
        negatives = [self._negatives(z[v], z[u]) - self.prior * cost[v, u] for v, u in pairs]
        return loss - self.beta * self.mean(torch.stack(negatives).mean(0)) / (1 - self.prior)

    def _negatives(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``Σ_{j≠i} π⁻_j c(x_i, y_j)`` of each x_i."""

        def terms(tile: Tile) -> dict[str, dict[str, WeightedMean]]:
            cost = tile.squared_distance()
            weights = tile.off_diagonal(-self.t_negative * self._weighing(cost))
            return {"row": {"cost": WeightedMean(weights, cost)}}

        return self.reduce(terms, rows={"z": x}, columns={"z": y}).row.cost

    def _weighing(self, cost: Tensor) -> Tensor:
        return cost.detach() if self.detach_weights else cost
