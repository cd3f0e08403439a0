"""The pairwise sigmoid loss with focal weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Fraction, NonNegative, Positive
from ..pairwise.inputs import paired, softplus
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import Sum
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile
from .siglip import check_ids


class FocalLoss(PairwiseLoss):
    """Every pair of the batch is classified on its own, and pairs that are classified well count less.

        s_ij = ±<x_i, y_j>/τ, + for a positive pair
        loss = (1/B) Σ_ij 2 α_ij σ(−s_ij)^γ softplus(−s_ij),   α_ij = α for a positive pair, else 1 − α

    It is 2/B times the sum of ``torchvision.ops.sigmoid_focal_loss`` over all pairs. γ = 0 with α = ½ is `SigLIPLoss`
    with a bias that is fixed at 0. Without a bias the first loss is large: about (B log 2)/2 at γ = 1.

    Args:
        temperature: τ; a number is fixed. The default is learned from 1/10, unbounded.
        gamma: γ, how fast the weight of a pair falls with its probability of being classified right.
        alpha: α; 0.5 weights positive and negative pairs alike.

    Raises:
        ValueError: for embeddings that do not pair up, or ids that are not one integer per row.

    Source: Kim, Angelova and Kuo, "Region-Aware Pretraining for Open-Vocabulary Object Detection with Vision
    Transformers" (2023), arXiv 2305.07011. Lin et al., "Focal Loss for Dense Object Detection" (2017), arXiv
    1708.02002.

    >>> x = torch.nn.functional.normalize(torch.ones(1, 4), dim=-1)
    >>> round(FocalLoss(gamma=0.0)(x, x).item(), 6)  # log(1 + exp(-10))
    4.5e-05
    """

    family = "sigmoid"
    is_method = True
    symmetric = True
    papers = ("ro-vit",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.3)}

    def __init__(
        self,
        temperature: Positive | Temperature | None = None,
        *,
        gamma: NonNegative = 1.0,
        alpha: Fraction = 0.5,
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.1))
        self.gamma, self.alpha = gamma, alpha

    def forward(
        self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"], ids: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``; positive is the diagonal, or wherever ``ids`` are equal."""
        x, y = paired(x=x, y=y)
        check_ids(ids, x)
        x = self.temperature.scale(x)
        side = {} if ids is None else {"id": ids}

        def terms(tile: Tile) -> dict[str, dict[str, Sum]]:
            logits, weight = tile.dot(), 2 * (1 - self.alpha)
            if ids is None and not tile.on_diagonal:
                return {"total": {"all": Sum(weight * self._focal(logits))}}
            positive = tile.i == tile.j if ids is None else tile.same("id")
            focal = self._focal(torch.where(positive, -logits, logits))
            return {"total": {"all": Sum(torch.where(positive, 2 * self.alpha * focal, weight * focal))}}

        r = self.reduce(terms, rows={"z": x, **side}, columns={"z": y, **side})
        return r.total.all / self.count(x)

    def _focal(self, wrong: Float[Tensor, "r c"]) -> Float[Tensor, "r c"]:
        """Return σ(u)^γ softplus(u) of the logits u of being classified wrong."""
        # The power as an exponential: σ(u) itself is 0 in float32 from u = −104 on, and its power has no gradient.
        return (-self.gamma * softplus(-wrong)).exp() * softplus(wrong)
