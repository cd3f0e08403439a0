"""Hard-negative noise contrastive estimation, the loss of DiHT."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import NonNegative, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile


class DiHTLoss(PairwiseLoss):
    """HN-NCE: InfoNCE whose negatives are weighted by importance, with a mean weight of 1 at every anchor.

    With logits s_ij = <x_i, y_j>/τ and a batch of n, in the direction x→y:

        loss = mean_i  log(α exp s_ii + Σ_{j≠i} w_ij exp s_ij) − s_ii,
        w_ij = (n − 1) exp(β s_ij) / Σ_{k≠i} exp(β s_ik)

    plus the same for y→x, whose weights are normalised over the other side. α = 1, β = 0 is InfoNCE, twice
    (CLIP averages the directions). A large β/τ leaves one negative of weight n − 1: on noisy data, where it
    may be false, keep β small. A batch of one has no negatives: the loss is 2 log α.

    Args:
        temperature: τ; a number is fixed. The default is learned from 0.07, within [0.01, 1].
        alpha: α > 0, the weight of the positive in the denominator.
        beta: β ≥ 0, how strongly the hardest negatives are favoured.
        detach_weights: whether weights are constants to the gradient.

    Raises:
        ValueError: for α ≤ 0 (without the positive it is another loss: see `DCLLoss`), β < 0, or embeddings that
            do not pair up.

    CoVR's code, often taken for a reference, normalises the weights of x→y over the wrong side (a sum that drops its
    axis), and so gives other values.

    Source: Radenovic et al., "Filtering, Distillation, and Hard Negatives for Vision-Language Pre-Training"
    (2023), arXiv 2301.02280.

    >>> x = torch.eye(8)                              # negatives alike weigh 1: 2 log(1 + 7 / e)
    >>> round(DiHTLoss(temperature=1.0)(x, x).item(), 4)
    2.548
    """

    family = "weighted"
    is_method = True
    symmetric = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.2), "beta": (0.05, 1.0)}
    papers = ("diht",)

    def __init__(
        self,
        temperature: Positive | Temperature | None = None,
        *,
        alpha: Positive = 1.0,
        beta: NonNegative = 0.25,
        detach_weights: bool = False,
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.07, bounds=(0.01, 1.0)))
        self.alpha, self.beta, self.detach_weights = alpha, beta, detach_weights

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``, of which row i of one belongs to row i of the other."""
        x, y = paired(x=x, y=y)
        x = self.temperature.scale(x)
        positive = dot(x, y)
        n, log_alpha = self.count(x), math.log(self.alpha)
        if n == 1:
            return 0.0 * positive.sum() + 2 * log_alpha

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            logits = tile.dot()
            log_weights = self.beta * (logits.detach() if self.detach_weights else logits)
            reductions = {
                "weighted": LogSumExp(tile.off_diagonal(logits + log_weights)),
                "weights": LogSumExp(tile.off_diagonal(log_weights)),
            }
            return {"row": reductions, "column": reductions}

        r = self.reduce(terms, rows={"z": x}, columns={"z": y})
        loss = -2 * positive
        for side in (r.row, r.column):
            negatives = math.log(n - 1) + side.weighted - side.weights
            loss = loss + torch.logaddexp(log_alpha + positive, negatives)
        return self.mean(loss)
