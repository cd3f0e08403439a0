"""Deep Boosting Learning: a model must beat another one on the same pairs, and the other's scores are the margins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from ..forms import Fraction, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ._hardest import hardest

Kind = Literal["relative", "absolute"]


class BoostLoss(PairwiseLoss):
    """A target's similarities S = <x, y> must exceed an anchor's A = <a, b> by a margin M, wherever they fall shortest.

        relative:  Σ_i [ M + (A_ii − A_ij) − (S_ii − S_ij) ]_+, the worst j ≠ i,  + columns
        absolute:  2 Σ_i [ γM + A_ii − S_ii ]_+  +  Σ_i [ (1 − γ)M + S_ij − A_ij ]_+  + columns

    Relative asks for a wider gap between a pair and its negatives; absolute for higher pairs and for lower negatives,
    each by itself. The worst j is that of the largest S_ij − A_ij, neither the anchor's hardest nor the target's, and
    every column has a worst row in the same way. The factor 2 is for the two directions that a pair belongs to.

    Sums over the batch, as in `HingeLoss`: at S = A every hinge of the relative loss is M, so that it is 2BM. The
    anchor has no gradient.

    Args:
        kind: which of the two.
        margin: M > 0, of cosines: where similarities are divided by a temperature, so is the margin to be.
        gamma: γ, the share of the margin that is asked of the pairs themselves; absolute alone.

    Raises:
        ValueError: for an unknown kind, options out of range, or embeddings that do not pair up.

    Source: Diao et al., "Deep Boosting Learning: A Brand-new Cooperative Approach for Image-Text Matching" (2024),
    arXiv 2404.18114.

    >>> import torch
    >>> x = torch.eye(4)
    >>> round(BoostLoss(margin=0.2)(x, x, x, x).item(), 4)         # 2 · 4 · 0.2
    1.6
    """

    family = "margin"
    symmetric = True
    stop_gradient = True
    papers = ("dbl",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"margin": (0.05, 0.4)}

    def __init__(self, kind: Kind = "relative", *, margin: Positive = 0.2, gamma: Fraction = 0.5) -> None:
        super().__init__()
        self.kind, self.margin, self.gamma = kind, margin, gamma

    def forward(
        self,
        x: Float[Tensor, "B d"],
        y: Float[Tensor, "B d"],
        anchor_x: Float[Tensor, "B e"],
        anchor_y: Float[Tensor, "B e"],
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm embeddings of the target, ``x`` and ``y``, and of the anchor."""
        x, y = paired(x=x, y=y)
        # Beside each other too: the rows of all four are the same examples.
        anchor_x, anchor_y = (a.detach() for a in paired(anchor_x=anchor_x, anchor_y=anchor_y))
        if len(anchor_x) != len(x):
            raise ValueError(
                f"x is {tuple(x.shape)} but anchor_x is {tuple(anchor_x.shape)}: both must be of the same examples"
            )
        gained = dot(x, y) - dot(anchor_x, anchor_y)
        of_rows, of_columns = hardest(self, x, y, anchor_x, anchor_y)
        if self.kind == "relative":
            short = (self.margin + of_rows - gained).relu() + (self.margin + of_columns - gained).relu()
        else:
            high, low = self.gamma * self.margin, (1 - self.gamma) * self.margin
            short = 2 * (high - gained).relu() + (low + of_rows).relu() + (low + of_columns).relu()
        return self.mean(short) * self.count(x)
