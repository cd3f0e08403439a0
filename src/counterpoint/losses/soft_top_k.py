"""Membership of the positives among the k highest, made differentiable."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import Count, Positive
from ..pairwise.reductions import Reduction, WholeRow
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile
from ._labels import LabelLoss, checked, of_tile, positives

PAPERS = {"dexml": ("SoftTopKLoss",)}


class SoftTopKLoss(LabelLoss):
    """Every true label should be among the k best.

        loss = −mean_i (1/|P_i|) Σ_{l ∈ P_i} log σ(α (s_il + t_i)),   t_i such that Σ_l σ(α (s_il + t_i)) = k

    The threshold t is found by bisection, and has the gradient of the implicit function theorem. α and τ act
    together: the sigmoids are as steep as α/τ. A query with no more than k labels to choose from, and one
    without a true label, costs nothing. Rows are evaluated whole, a few at a time.

    Where a query has more true labels than k, the paper draws k of them: give the others as ``ignored``.

    Args:
        temperature: τ; a number is fixed.
        k: how many labels are to be found, below their number; None takes the number of true labels of each
            query.
        alpha: α > 0.

    Raises:
        ValueError: for an ``alpha`` or ``k`` out of range, or shapes that do not fit.

    Source: Gupta et al., "Dual-Encoders for Extreme Multi-Label Classification" (2023), arXiv 2310.10636.

    >>> z = torch.eye(4)                              # all labels alike: each is in the best 2 of 4 by ½
    >>> true = torch.tensor([[True, True, False, False]])
    >>> round(SoftTopKLoss(k=2)(z.sum(0, keepdim=True) / 2, z, targets=true).item(), 4)
    0.6931
    """

    family = "labels"

    def __init__(
        self, temperature: Positive | Temperature = 0.05, *, k: Count | None = 5, alpha: Positive = 2.0
    ) -> None:
        super().__init__(temperature)
        self.k = k
        self.alpha = alpha

    def forward(
        self,
        queries: Float[Tensor, "B d"],
        labels_z: Float[Tensor, "L d"],
        *,
        targets: Bool[Tensor, "B L"],
        ignored: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm queries and label vectors; ``targets`` say which labels are true of a query.

        ``ignored`` labels are not there for a query, whatever ``targets`` say.
        """
        queries, labels_z = checked(queries, labels_z, targets, ignored)
        if self.k is not None and self.k >= len(labels_z):
            raise ValueError(f"k={self.k} must be below the number of labels, {len(labels_z)}")

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits, gone = tile.dot(), of_tile("ignored", tile)
            logits = logits if gone is None else logits.masked_fill(gone, NEG)
            return {"row": {"loss": WholeRow(self.row_loss, logits, positives(tile))}}

        r = self.over_labels(terms, queries, labels_z, targets=targets, ignored=ignored)
        return self.mean(r.row.loss)

    def row_loss(self, logits: Float[Tensor, "r L"], positive: Bool[Tensor, "r L"]) -> Float[Tensor, " r"]:
        """Return the loss of complete rows."""
        count = positive.sum(1)
        k = count if self.k is None else torch.full_like(count, self.k)
        # NaN, too, is a label to choose from, and is passed on.
        defined = (count > 0) & (k < (logits != NEG).sum(1))
        # Where no threshold exists any will do: the row is left out below, with its gradient.
        log_p = log_soft_top_k(logits, torch.where(defined, k, 0.5), self.alpha)
        loss = -torch.where(positive & defined[:, None], log_p, 0.0).sum(1)
        return loss / count.clamp_min(1)


def log_soft_top_k(
    x: Float[Tensor, "r L"], k: Float[Tensor, " r"], alpha: float = 2.0
) -> Float[Tensor, "r L"]:
    """Return ``log σ(α (x + t))``, with the threshold t of each row at which the sigmoids sum to k.

    −∞ takes no part. k must lie between 0 and the number of the others.

    >>> log_soft_top_k(torch.tensor([[3.0, 0.0, 0.0, -3.0]]), torch.tensor([2.0])).exp().round(decimals=2)
    tensor([[1.0000, 0.5000, 0.5000, 0.0000]])
    """
    k = k[:, None]
    with torch.no_grad():
        # At either end each sigmoid is within exp(−10) / L of 0 or 1: no k between lies outside.
        margin = (10 + math.log(x.shape[1])) / alpha
        low = -x.amax(1, keepdim=True) - margin
        high = margin - x.masked_fill(x == NEG, torch.inf).amin(1, keepdim=True)
        for _ in range(32 if x.dtype == torch.float32 else 50):
            middle = (low + high) / 2
            above = torch.sigmoid(alpha * (x + middle)).sum(1, keepdim=True) > k
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        threshold = (low + high) / 2
    # Newton's steps from the solution add nothing to its value. One gives it its gradient, dt/dx_j = −σ'_j / Σ σ', two
    # its second derivatives.
    for _ in range(2):
        inside = torch.sigmoid(alpha * (x + threshold))
        slope = (alpha * inside * (1 - inside)).sum(1, keepdim=True)
        total = inside.sum(1, keepdim=True)
        threshold = threshold - (total - total.detach()) / slope.clamp_min(torch.finfo(x.dtype).tiny)
    return F.logsigmoid(alpha * (x + threshold))
