"""Softmax over labels with several positives a row."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.reductions import Reduction, WholeRow, log_sum_exp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile
from ._labels import LabelLoss, checked, how_many, of_tile, positives

PAPERS = {"dexml": ("MultiLabelSoftmaxLoss",)}


class MultiLabelSoftmaxLoss(LabelLoss):
    """`InfoNCELoss` with several positives, all of which stay in the denominator of each.

        loss = mean_i Σ_{l ∈ P_i} (log Σ_j exp s_ij − s_il),   or, with ``"mean"``, the mean over l ∈ P_i

    True labels push each other down: with |P_i| of them the gradient in a true logit is |P_i| p_il − 1, which
    is positive as soon as p_il exceeds 1/|P_i|. A query without a true label costs nothing and counts in the
    mean.

    Args:
        temperature: τ; a number is fixed.
        reduction: ``"sum"`` or ``"mean"`` over the true labels of a query.

    Raises:
        ValueError: for another reduction, or shapes that do not fit.

    Source: the baseline in Gupta et al., "Dual-Encoders for Extreme Multi-Label Classification" (2023), arXiv
    2310.10636.

    >>> z = torch.eye(4)                              # twice log(1 + 1 + 2 / e), of two true labels
    >>> true = torch.tensor([[True, True, False, False]])
    >>> round(MultiLabelSoftmaxLoss(temperature=1.0)(z[:1] + z[1:2], z, targets=true).item(), 4)
    2.0128
    """

    family = "labels"

    def __init__(
        self, temperature: Positive | Temperature = 0.05, *, reduction: Literal["sum", "mean"] = "sum"
    ) -> None:
        super().__init__(temperature)
        self.reduction = reduction

    def forward(
        self,
        queries: Float[Tensor, "B d"],
        labels_z: Float[Tensor, "L d"],
        *,
        targets: Bool[Tensor, "B L"],
        ignored: Bool[Tensor, "B L"] | None = None,
        weights: Float[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm queries and label vectors; ``targets`` say which labels are true of a query.

        ``ignored`` labels are neither positives nor negatives of a query, whatever ``targets`` say. With ``weights``,
        ≥ 0, the mean over queries is weighted.
        """
        queries, labels_z = checked(queries, labels_z, targets, ignored)
        weights = queries.new_ones(len(queries)) if weights is None else weights.to(queries)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits, gone = tile.dot(), of_tile("ignored", tile)
            logits = logits if gone is None else logits.masked_fill(gone, NEG)
            of_rows = positives(tile), tile.row.count, tile.row.weight
            return {"total": {"loss": WholeRow(self.row_loss, logits, *of_rows)}}

        of_rows = {"count": how_many(targets, ignored), "weight": weights}
        r = self.over_labels(terms, queries, labels_z, targets=targets, ignored=ignored, **of_rows)
        total: Tensor = self.ranks.sum(r.total.loss)
        whole: Tensor = self.ranks.sum(weights.sum())
        return total / torch.where(whole == 0, 1.0, whole)

    def row_loss(
        self,
        logits: Float[Tensor, "r L"],
        positive: Bool[Tensor, "r L"],
        count: Int[Tensor, " r"],
        weight: Float[Tensor, " r"],
    ) -> Float[Tensor, " r"]:
        """Return the weighted loss of complete rows."""
        # Of a row all of whose labels are ignored the log-sum-exp is −∞.
        every = torch.where(count > 0, count * log_sum_exp(logits), 0.0)
        loss = every - torch.where(positive, logits, 0.0).sum(1)
        return weight * (loss if self.reduction == "sum" else loss / count.clamp_min(1))
