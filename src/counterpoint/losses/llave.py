"""Hardness-weighted InfoNCE: each negative counts by an exponential of its own similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..forms import NonNegative, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile


class LLaVELoss(PairwiseLoss):
    """InfoNCE in both directions, each negative weighted by how hard it is at the moment.

    With s_ij = <x_i, y_j>, and sg a constant to the gradient:

        loss_i = −log  exp(s_ii/τ) / (exp(s_ii/τ) + Σ_{j≠i} w_ij exp(s_ij/τ)),   w_ij = exp(α sg(s_ij))

    averaged over anchors and over both directions. The positive has weight 1. The softmax is that of negatives
    at the scale 1/τ + α, but the gradient is scaled by 1/τ alone. False negatives are stressed like any other,
    by up to e^α: no two examples of a batch should share a text. A batch of one has no negatives: the loss is 0.

    Args:
        temperature: τ; a number is fixed.
        alpha: α ≥ 0, on the scale of cosines; 0 is InfoNCE.

    Raises:
        ValueError: for a negative α, or embeddings that do not pair up.

    Source: Lan et al., "LLaVE: Large Language and Vision Embedding Models with Hardness-Weighted Contrastive
    Learning" (2025), arXiv 2503.04812. Its equations have one direction, its code both.

    >>> import torch
    >>> x = torch.eye(8)                              # negatives at 0 weigh 1: log(1 + 7 / e)
    >>> round(LLaVELoss(temperature=1.0)(x, x).item(), 4)
    1.274
    """

    family = "weighted"
    is_method = True
    symmetric = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.01, 0.2), "alpha": (1.0, 20.0)}
    stop_gradient = True
    papers = ("llave",)

    def __init__(self, temperature: Positive | Temperature = 0.02, *, alpha: NonNegative = 9.0) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.02))
        self.alpha = alpha

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``, of which row i of one belongs to row i of the other."""
        x, y = paired(x=x, y=y)
        scaled = self.temperature.scale(x)
        per_logit = self.alpha / self.temperature.inverse(x.dtype).detach()  # α on the cosine, not the logit

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            logits = tile.dot()
            # The positive keeps the weight 1, whose logarithm is 0.
            log_weights = tile.off_diagonal(per_logit * logits.detach(), fill=0.0)
            everything = LogSumExp(logits + log_weights)
            return {"row": {"all": everything}, "column": {"all": everything}}

        r = self.reduce(terms, rows={"z": scaled}, columns={"z": y})
        return self.mean(r.row.all + r.column.all - 2 * dot(scaled, y)) / 2
