"""InfoNCE, or a loss without any softmax, against the hardest negatives of each anchor alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import NonNegative, Positive, Share
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, Sum, TopK
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile


class HardContrastiveLoss(PairwiseLoss):
    """Each anchor against its k hardest negatives, k = ⌈fraction · (B − 1)⌉; easier ones get no gradient.

    With s_ij = <x_i, y_j> and H(i) the k largest of s_ij, j ≠ i:

        hard:         loss_i = −log  exp(s_ii/τ) / (exp(s_ii/τ) + Σ_{j∈H(i)} exp(s_ij/τ))
        hard simple:  loss_i = −s_ii + λ Σ_{j∈H(i)} s_ij

    averaged over anchors and over both directions. At fraction 1 the hard loss is InfoNCE, and the simple one
    is its limit for large τ. k is a count: which of several equal negatives at the edge is kept is not
    defined. Memory grows with B · k, except at fraction 1.

    From a random start few negatives can hold features together at one point: begin with InfoNCE. Gradients
    are of the order of 1/τ, so that each τ wants its own learning rate. A batch of one has no negatives: the
    hard loss is 0, the simple one −<x, y>.

    Args:
        temperature: τ; a number is fixed. The simple loss has none.
        fraction: the share of negatives kept, in (0, 1].
        simple: whether hard negatives count alike instead of by their softmax.
        repulsion: λ of the simple loss; 1/k unless stated, so that push and pull are of one size.

    Raises:
        ValueError: for a fraction outside (0, 1], a negative λ, λ without ``simple``, or embeddings that do
            not pair up.

    Source: Wang and Liu, "Understanding the Behaviour of Contrastive Loss" (2021), arXiv 2012.09740.

    >>> x = torch.eye(5)                              # two of four negatives: log(1 + 2 / e)
    >>> round(HardContrastiveLoss(temperature=1.0, fraction=0.5)(x, x).item(), 4)
    0.5514
    """

    family = "weighted"
    is_method = True
    symmetric = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.05, 1.0)}
    papers = ("contrastive-loss-behaviour",)

    def __init__(
        self,
        temperature: Positive | Temperature = 0.3,
        *,
        fraction: Share = 0.1,
        simple: bool = False,
        repulsion: NonNegative | None = None,
    ) -> None:
        super().__init__()
        if repulsion is not None and not simple:
            raise ValueError(f"repulsion is of the simple loss only, got {repulsion}; give simple=True")
        self.temperature = Temperature.of(temperature, Temperature(0.3))
        self.fraction, self.simple, self.repulsion = fraction, simple, repulsion

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``, of which row i of one belongs to row i of the other."""
        x, y = paired(x=x, y=y)
        if not self.simple:
            x = self.temperature.scale(x)
        positive = dot(x, y)
        k = self.num_hardest(self.count(x))

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            scores = tile.dot()
            hardest: Reduction
            if self.fraction < 1:
                hardest = TopK(tile.off_diagonal(scores), k)
            elif self.simple:
                hardest = Sum(tile.off_diagonal(scores, fill=0.0))
            else:
                hardest = LogSumExp(tile.off_diagonal(scores))
            return {"row": {"hardest": hardest}, "column": {"hardest": hardest}}

        r = self.reduce(terms, rows={"z": x}, columns={"z": y})
        loss = -2 * positive
        for hardest in (r.row.hardest, r.column.hardest):
            if self.simple:
                pushed = hardest.values.sum(1) if self.fraction < 1 else hardest
                weight = 1 / max(k, 1) if self.repulsion is None else self.repulsion
                loss = loss + weight * pushed
            else:
                negatives = hardest.values.logsumexp(1) if self.fraction < 1 else hardest
                loss = loss + torch.logaddexp(positive, negatives)
        return self.mean(loss) / 2

    def num_hardest(self, n: int) -> int:
        """Return k, the number of hardest negatives, in a batch of n.

        >>> HardContrastiveLoss(fraction=0.7).num_hardest(11)
        7
        """
        return max(0, math.ceil(self.fraction * (n - 1) - 1e-9))  # 0.7 · 10 is 7.000000000000001
