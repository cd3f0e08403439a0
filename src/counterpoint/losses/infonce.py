"""InfoNCE over a batch of pairs: CLIP, ALIGN and ConVIRT are settings of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..forms import BelowOne, NonNegative, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile


class InfoNCELoss(PairwiseLoss):
    """Each x must find its y among all y of the batch, and each y its x.

    With logits ``S = x yᵀ / τ``, smoothing ε and direction weights (v, w):

        loss = v · mean_i CE(S_i, i) + w · mean_i CE(Sᵀ_i, i),
        CE(s, i) = log Σ_j exp s_j − (1 − ε) s_i − ε mean_j s_j

    =======  ==========  ===  =====================================================
    CLIP     (0.5, 0.5)  0    ``InfoNCELoss()``: learned τ from 0.07, within [0.01, 1]
    ALIGN    (1, 1)      0.1  ``InfoNCELoss(Temperature(1.0), weights=(1.0, 1.0), label_smoothing=0.1)``
    ConVIRT  (¾, ¼)      0    ``InfoNCELoss(0.1, weights=(0.75, 0.25))``, x being the images
    =======  ==========  ===  =====================================================

    A batch of one has no negatives: the loss is 0 whatever the embeddings.

    Args:
        temperature: τ; a number is fixed.
        label_smoothing: ε in [0, 1), the share of the target spread over the whole batch.
        weights: of x→y and of y→x.

    Raises:
        ValueError: for ε outside [0, 1), a negative weight, two weights of 0, or embeddings that do not pair
            up.

    Source: van den Oord et al. (2018), arXiv 1807.03748; Radford et al. (2021); Jia et al. (2021), arXiv
    2102.05918; Zhang et al. (2020), arXiv 2010.00747.

    >>> import torch
    >>> x = torch.eye(8)                              # matched, orthonormal: log(1 + 7 / e)
    >>> round(InfoNCELoss(temperature=1.0)(x, x).item(), 4)
    1.274
    """

    family = "softmax"
    is_method = True
    papers = ("clip-rocket", "align", "convirt")
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        temperature: Positive | Temperature | None = None,
        *,
        label_smoothing: BelowOne = 0.0,
        weights: tuple[NonNegative, NonNegative] = (0.5, 0.5),
    ) -> None:
        super().__init__()
        if max(weights) == 0:
            raise ValueError("weights must not both be 0")
        self.temperature = Temperature.of(temperature, Temperature(0.07, bounds=(0.01, 1.0)))
        self.label_smoothing = label_smoothing
        self.weights = weights

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``, of which row i of one belongs to row i of the other."""
        x, y = paired(x=x, y=y)
        x = self.temperature.scale(x)
        forth, back = self.weights
        directions = {"row": forth, "column": back}

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            everything = LogSumExp(tile.dot())
            return {per: {"all": everything} for per, weight in directions.items() if weight}

        r = self.reduce(terms, rows={"z": x}, columns={"z": y})
        total = (forth + back) * (1 - self.label_smoothing) * dot(x, y)
        if self.label_smoothing:
            # The mean of a row of logits is x_i · mean(y), and the mean over all rows or columns mean(x) · mean(y):
            # no matrix is needed for it, and both directions have the same.
            total = total + (forth + back) * self.label_smoothing * (x * self.mean(y)).sum(-1)
        if forth:
            total = total - forth * r.row.all
        if back:
            total = total - back * r.column.all
        return -self.mean(total)
