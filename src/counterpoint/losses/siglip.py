"""The pairwise sigmoid loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Finite, Positive
from ..pairwise.inputs import paired, softplus
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import Sum
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile


class SigLIPLoss(PairwiseLoss):
    """Every pair of the batch is classified on its own: does this text belong to this image?

        loss = (1/B) Σ_i Σ_j softplus(−z_ij (<x_i, y_j>/τ + b)),   z_ij = +1 for a positive pair, else −1

    The divisor is B, not B². With ``ids`` all pairs of equal id are positive, so that a caption that occurs
    twice is no false negative. A batch of one is well defined (it has one positive and no negatives).

    With a positive per row the gradient of b is the number of positives that the loss expects in a row, less one:

        ∂loss/∂b = (1/B) Σ_i Σ_j σ(<x_i, y_j>/τ + b) − 1

    It vanishes at b = −log(B − 1) − s/τ where all similarities are s, so at −log(B − 1) before anything is learnt
    (`balanced_bias`). From a start far away the optimiser must move b there, and a step of Adam moves it by the
    learning rate at most: from −10 at B = 128 the distance is 5.2, which 500 steps at 2e-3 do not cover by far.

    Args:
        temperature: τ; a number is fixed. The default is learned from 1/10, unbounded.
        bias: the start of the learned b. The default is the paper's, balanced for batches of about 22,000;
            ``bias=SigLIPLoss.balanced_bias(B)`` suits batches of B.

    Raises:
        ValueError: for embeddings that do not pair up, or ids that are not one integer per row.

    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (2023), arXiv 2303.15343.

    >>> loss = SigLIPLoss()
    >>> x = torch.nn.functional.normalize(torch.ones(1, 4), dim=-1)
    >>> round(loss(x, x).item(), 4)                   # softplus(-(10 - 10)) = log 2
    0.6931
    >>> round(SigLIPLoss.balanced_bias(128), 2)
    -4.84
    """

    family = "sigmoid"
    is_method = True
    symmetric = True
    papers = ("siglip",)

    def __init__(self, temperature: Positive | Temperature | None = None, *, bias: Finite = -10.0) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.1))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    @staticmethod
    def balanced_bias(batch_size: int) -> float:
        """Return −log(B − 1), the b at which as many positives are expected as there are where nothing is similar.

        For one or two pairs it is 0: one has no negative to be balanced against.

        Args:
            batch_size: B, the pairs of a step over all ranks.
        """
        return -math.log(max(batch_size - 1, 1))

    def balanced(self, batch_size: int) -> Mapping[str, float]:
        return {"bias": self.balanced_bias(batch_size)}

    def forward(
        self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"], ids: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``; positive is the diagonal, or wherever ``ids`` are equal."""
        x, y = paired(x=x, y=y)
        check_ids(ids, x)
        x = self.temperature.scale(x)
        bias = self.bias.to(x.dtype)
        side = {} if ids is None else {"id": ids}

        def terms(tile: Tile) -> dict[str, dict[str, Sum]]:
            logits = tile.dot() + tile.bias
            if ids is not None or tile.on_diagonal:
                positive = tile.i == tile.j if ids is None else tile.same("id")
                logits = torch.where(positive, -logits, logits)
            return {"total": {"all": Sum(softplus(logits))}}

        r = self.reduce(terms, rows={"z": x, **side}, columns={"z": y, **side}, shared={"bias": bias})
        return r.total.all / self.count(x)


def check_ids(ids: Tensor | None, x: Tensor) -> None:
    """Refuse ids that are not one integer per row of ``x``.

    Raises:
        ValueError: for such ids.
    """
    if ids is not None and (ids.shape != x.shape[:1] or ids.is_floating_point()):
        raise ValueError(f"ids must be one integer per row, ({len(x)},), got {tuple(ids.shape)} {ids.dtype}")
