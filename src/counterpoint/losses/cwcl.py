"""CWCL: the geometry of a frozen modality says how positive every pair is."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, WeightedMean
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile

Anchor = Literal["frozen", "trained", "both"]
"""The side whose anchors have continuous targets; the other direction is one-hot."""


class CWCLLoss(PairwiseLoss):
    """InfoNCE whose targets are the similarities of the frozen modality x, in one of the two directions.

        w_ij = ((1 + <x_i, x_j>) / 2)^γ,   t_i = w_i· / Σ_j w_ij,   S = x yᵀ / τ
        loss = mean_i CE(S_i, t_i) + mean_i CE(Sᵀ_i, i)

    The weights are constants, and two equal x are positives of each other. Unrelated x have cosines of about
    0 and so weights of about ½ against 1 on the diagonal: the targets are then almost uniform, and work
    against the other direction. `entropy` tells; γ sharpens them. As γ grows the loss becomes the sum of both
    directions of `InfoNCELoss` (for distinct x). A batch of one has no negatives: the loss is 0.

    Args:
        temperature: τ; a number is fixed. The default is learned from 0.07 within [0.01, 1].
        gamma: γ > 0; the paper has 1.
        weighted_anchor: the direction with continuous targets: of the anchors x_i (``"frozen"``, as above),
            of y_i over the candidates x_j (``"trained"``), or ``"both"``.

    Raises:
        ValueError: for γ ≤ 0, another ``weighted_anchor``, or embeddings that do not pair up.

    Source: Srinivasa et al., "CWCL: Cross-Modal Transfer with Continuously Weighted Contrastive Loss" (2023),
    arXiv 2309.14580.

    >>> import torch
    >>> x = torch.eye(8)          # log(7 + e) twice, less the target's logit: 1 / (1 + 7 / 2) one way, else 1
    >>> round(CWCLLoss(temperature=1.0)(x, x).item(), 4)
    3.3258
    """

    family = "weighted"
    is_method = True
    stop_gradient = True
    papers = ("cwcl",)

    def __init__(
        self,
        temperature: Positive | Temperature | None = None,
        *,
        gamma: Positive = 1.0,
        weighted_anchor: Anchor = "frozen",
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.07, bounds=(0.01, 1.0)))
        self.gamma = gamma
        self.weighted_anchor = weighted_anchor

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x``, of the frozen modality, and ``y``, of the trained one."""
        x, y = paired(x=x, y=y)
        frozen, scaled = x.detach(), self.temperature.scale(x)
        weighted = {"frozen": ("row",), "trained": ("column",), "both": ("row", "column")}[
            self.weighted_anchor
        ]

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits, log_weights = tile.dot(), self.log_weights(tile)
            everything, target = LogSumExp(logits), WeightedMean(log_weights, logits)
            return {
                per: {"all": everything, "target": target} if per in weighted else {"all": everything}
                for per in ("row", "column")
            }

        r = self.reduce(terms, rows={"z": scaled, "frozen": frozen}, columns={"z": y, "frozen": frozen})
        positive = dot(scaled, y)
        row_target = r.row.target if "row" in weighted else positive
        column_target = r.column.target if "column" in weighted else positive
        return self.mean(r.row.all - row_target + r.column.all - column_target)

    def entropy(self, x: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the mean entropy of the targets in nats: log B where they are uniform, 0 where they are one-hot."""
        (x,) = paired(x=x.detach())

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            log_weights = self.log_weights(tile)
            # A weight of 0 adds nothing, but 0 · log 0 would be NaN.
            values = log_weights.masked_fill(log_weights.isinf(), 0.0)
            return {"row": {"all": LogSumExp(log_weights), "own": WeightedMean(log_weights, values)}}

        r = self.reduce(terms, rows={"frozen": x}, columns={"frozen": x})
        return self.mean(r.row.all - r.row.own)

    def log_weights(self, tile: Tile) -> Float[Tensor, "r c"]:
        """Return γ log w of a tile whose sides have ``frozen``."""
        return self.gamma * ((1 + tile.dot("frozen")) / 2).clamp_min(0).log()
