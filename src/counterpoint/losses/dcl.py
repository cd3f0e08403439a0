"""Decoupled contrastive learning: the positive is no part of what it is compared with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import WholeRow, log_sum_exp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile

Sigma = Annotated[float, Field(ge=0.02)]
"""Range of σ; below, ``exp(p / σ)`` overflows."""


class DCLLoss(PairwiseLoss):
    """NT-Xent without the positive in the denominator, so that an easy positive does not shrink the gradient.

    With z = [x; y], p_i = <x_i, y_i>, and N(a) all views of other examples than a's:

        loss = 2 · mean over anchors a of  log Σ_{b ∈ N(a)} exp(<z_a, z_b>/τ) − w_a p_a/τ

    which is the sum of the two one-way losses, w = 1. Weighted (DCLW), distant positives count more:

        w_i = max(0, 2 − exp(p_i/σ) / mean_k exp(p_k/σ)),   a constant to the gradient, of mean 1 before the clamp

    The gradient of NT-Xent at an anchor is 1 − P(positive) times that of DCL. The loss can be negative, is no
    likelihood, and falls without end in a τ that is learned without a lower bound. As its gradient does not
    fade, it wants its own learning rate. A batch of one has no negatives: only the positive term is left, with
    a warning.

    Args:
        temperature: τ; a number is fixed.
        weighted: DCLW.
        sigma: σ of the weights, at least 0.02.

    Raises:
        ValueError: for σ below 0.02, or embeddings that do not pair up.

    Source: Yeh et al., "Decoupled Contrastive Learning" (2022), arXiv 2110.06848.

    >>> x = torch.eye(4)                              # six others at 0, the partner at 1: 2 (log 6 - 1)
    >>> round(DCLLoss(temperature=1.0)(x, x).item(), 4)
    1.5835
    """

    family = "softmax"
    is_method = True
    symmetric = True
    bounded_below = False
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.05, 0.5)}
    papers = ("dcl",)

    def __init__(
        self, temperature: Positive | Temperature = 0.1, *, weighted: bool = False, sigma: Sigma = 0.5
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.1))
        self.weighted, self.sigma = weighted, sigma

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views ``x`` and ``y`` of the same examples."""
        x, y = paired(x=x, y=y)
        z, partner = torch.cat([x, y]), torch.cat([y, x])
        scaled = self.temperature.scale(z)
        positive = dot(scaled, partner)
        if self.weighted:
            positive = self.weights(x, y).repeat(2) * positive
        if self.count(x) < 2:
            warnings.warn("DCL of one example has no negatives; its positive term is returned", stacklevel=2)
            return -2 * self.mean(positive)
        item = self.index(x).repeat(2)

        def terms(tile: Tile) -> dict[str, dict[str, WholeRow]]:
            others = tile.dot().masked_fill(tile.same("item"), NEG)
            return {"total": {"negatives": WholeRow(log_sum_exp, others)}}

        r = self.reduce(terms, rows={"z": scaled, "item": item}, columns={"z": z, "item": item})
        return 2 * (r.total.negatives / self.count(z) - self.mean(positive))

    @torch.no_grad()
    def weights(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, " B"]:
        """Return ``max(0, 2 − exp(p_i/σ) / mean_k exp(p_k/σ))``, larger for distant positives."""
        closeness = ((x * y).sum(-1) / self.sigma).exp()
        return (2 - closeness / self.mean(closeness)).clamp_min(0)
