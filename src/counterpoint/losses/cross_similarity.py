"""CCSL and CSSL: pictures of a batch that look alike become positives of each other."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from ..forms import NonNegative, Positive
from ..pairwise.inputs import paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import Sum
from ..pairwise.tile import Tile

Threshold = Annotated[float, Field(ge=-1, le=1)]
"""Range of a cosine, and of a probability."""


class CrossSimilarityLoss(PairwiseLoss):
    """BYOL's distance over all pairs of a batch that are alike, beside those of one example.

        S_ij = <p_i, sg(v_j)>,   P = {i = j or u_ij ≥ θ⁺},   Q = {i ≠ j, u_ij ≤ θ⁻}
        cosine:   u = S,          L = mean_P (2 − 2 S) + w mean_Q max(0, S)²
        sigmoid:  u = σ(S/τ),     L = −mean_{P ∪ Q} [ 1_P log u + 1_Q log(1 − u) ]

    With no pair above the threshold and w = 0 the cosine form is `NegativeCosineLoss`. Neither target nor choice of
    pairs carries a gradient. Features that have nearly collapsed pass the threshold in all pairs, and are then held
    together: train by BYOL at first, and watch ``share``.

    The paper's two losses were never published: this is a reading of its abstract and of its scripts' arguments, whose
    thresholds these are. w and τ are this package's: unit-norm vectors pass 0.8 at no τ above 0.72, and at 0.2 from a
    cosine of 0.28 on.

    Args:
        kind: ``"cosine"`` (CCSL) or ``"sigmoid"`` (CSSL).
        positive: θ⁺.
        negative: θ⁻.
        repulsion: w, of the cosine form.
        temperature: τ, of the sigmoid form; fixed.

    Attributes:
        share: of the pairs of different examples in the last call, those that counted as alike; NaN before it.

    Raises:
        ValueError: for θ⁻ above θ⁺.

    Source: Garg and Jain, "Self-Labeling Refinement for Robust Representation Learning with Bootstrap Your Own Latent"
    (2022), arXiv 2204.04545.

    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])     # of the 5 pairs alike none is apart
    >>> loss = CrossSimilarityLoss()
    >>> loss(x, x).item(), round(loss.share.item(), 4)
    (0.0, 0.3333)
    """

    family = "self-distillation"
    stop_gradient = True
    papers = ("byol-ccsl",)

    def __init__(
        self,
        kind: Literal["cosine", "sigmoid"] = "cosine",
        *,
        positive: Threshold = 0.8,
        negative: Threshold = 0.2,
        repulsion: NonNegative = 0.0,
        temperature: Positive = 0.2,
    ) -> None:
        super().__init__()
        if negative > positive:
            raise ValueError(
                f"negative={negative:g} is above positive={positive:g}: a pair would be alike and unlike"
            )
        self.kind, self.positive, self.negative = kind, positive, negative
        self.repulsion, self.temperature = repulsion, temperature
        self.share = torch.tensor(float("nan"))

    def forward(self, prediction: Float[Tensor, "B d"], target: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm predictions and unit-norm targets."""
        p, v = paired(prediction=prediction, target=target)

        def terms(tile: Tile) -> dict[str, dict[str, Sum]]:
            s = tile.dot()
            if self.kind == "cosine":
                u, attraction, repulsion = s, 2 - 2 * s, s.clamp_min(0).square()
            else:
                s = s / self.temperature
                u, attraction, repulsion = s.sigmoid(), softplus(-s), softplus(s)
            diagonal = tile.i == tile.j
            alike, unlike = diagonal | (u >= self.positive), ~diagonal & (u <= self.negative)
            return {
                "total": {
                    "attraction": Sum(attraction * alike),
                    "alike": Sum(alike.to(s)),
                    "repulsion": Sum(repulsion * unlike),
                    "unlike": Sum(unlike.to(s)),
                }
            }

        r = self.reduce(terms, rows={"z": p}, columns={"z": v.detach()}).total
        n = self.count(p)
        self.share = (r.alike.detach() - n) / max(n * (n - 1), 1)
        if self.kind == "sigmoid":
            return (r.attraction + r.repulsion) / (r.alike + r.unlike)
        return r.attraction / r.alike + self.repulsion * r.repulsion / r.unlike.clamp_min(1)
