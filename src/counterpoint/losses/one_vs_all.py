"""A sigmoid for every pair of a row and a label."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..pairwise.inputs import softplus
from ..pairwise.reductions import Reduction, Sum
from ..pairwise.tile import Tile
from ._labels import LabelLoss, checked, positives

PAPERS = {"dexml": ("OneVsAllLoss",)}


class OneVsAllLoss(LabelLoss):
    """Each label of each query is a yes-or-no question of its own: binary cross-entropy.

        loss = mean_i (1/L) [Σ_l softplus(s_il) − Σ_{l ∈ P_i} s_il]

    Queries and labels have the same part in it.

    Args:
        temperature: τ; a number is fixed.

    Raises:
        ValueError: for shapes that do not fit.

    Source: the baseline in Gupta et al., "Dual-Encoders for Extreme Multi-Label Classification" (2023), arXiv
    2310.10636.

    >>> z = torch.eye(4)                              # logits 1, 0, 0, 0 of which the first is true
    >>> true = torch.tensor([[True, False, False, False]])
    >>> round(OneVsAllLoss(temperature=1.0)(z[:1], z, targets=true).item(), 4)
    0.5982
    """

    family = "sigmoid"
    symmetric = True

    def forward(
        self,
        queries: Float[Tensor, "B d"],
        labels_z: Float[Tensor, "L d"],
        *,
        targets: Bool[Tensor, "B L"],
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm queries and label vectors; ``targets`` say which labels are true of a query."""
        queries, labels_z = checked(queries, labels_z, targets)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits = tile.dot()
            wrong = torch.where(positives(tile), -logits, logits)
            return {"total": {"all": Sum(softplus(wrong))}}

        r = self.over_labels(terms, queries, labels_z, targets=targets)
        total: Tensor = self.ranks.sum(r.total.all)
        return total / (self.count(queries) * len(labels_z))
