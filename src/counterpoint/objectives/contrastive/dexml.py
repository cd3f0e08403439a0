"""DEXML: queries with several true labels each, against all labels, and the losses it compares with."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...pairwise.inputs import paired, softplus
from ...pairwise.objective import PairwiseObjective
from ...pairwise.reduce import Reduced, Terms
from ...pairwise.reductions import LogSumExp, Reduction, Sum, WholeRow
from ...pairwise.temperature import Temperature
from ...pairwise.tile import NEG, Tile


class LabelObjective(PairwiseObjective):
    """What the losses of queries ``(B, d)`` against label vectors ``(L, d)`` share.

    The label vectors are the same on every rank. Their gradient there is the part of that rank's own queries;
    averaged over ranks, as data parallelism does, it is that of one process.
    """

    papers = ("dexml",)

    def __init__(self, temperature: float | Temperature = 0.05) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.05))

    def over_labels(self, terms: Terms, queries: Tensor, labels_z: Tensor, **row: Tensor | None) -> Reduced:
        """Reduce the logits ``<q_i, z_l> / τ``, with those row tensors beside the queries that there are."""
        beside = {name: tensor for name, tensor in row.items() if tensor is not None}
        rows = {"z": self.temperature.scale(queries), **beside}
        return self.reduce(terms, rows=rows, columns={"z": labels_z}, same_columns=True)


def checked(
    queries: Tensor, labels_z: Tensor, targets: Tensor, ignored: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The queries, and the label vectors in the same precision; ValueError where shapes do not fit."""
    (queries,), (labels_z,) = paired(queries=queries), paired(labels_z=labels_z)
    if labels_z.shape[1] != queries.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} dimensions but labels_z {labels_z.shape[1]}")
    for name, mask in (("targets", targets), ("ignored", ignored)):
        if mask is not None and len(mask) != len(queries):
            raise ValueError(
                f"queries is {tuple(queries.shape)} but {name} is {tuple(mask.shape)}: "
                "row i of one must belong to row i of the other"
            )
        shape = (len(queries), len(labels_z))
        if mask is not None and (mask.shape != shape or mask.dtype != torch.bool):
            raise ValueError(f"{name} must be boolean {shape}, got {mask.dtype} {tuple(mask.shape)}")
    return queries, labels_z.to(queries.dtype)


def of_tile(name: str, tile: Tile) -> Bool[Tensor, "r c"] | None:
    """The columns of a mask ``(r, L)`` that are the columns of the tile; None where there is no such mask.

    A mask is as large as the similarity matrix: what is made of it is made here, tile by tile.
    """
    mask: Tensor | None = getattr(tile.row, name, None)
    return None if mask is None else mask[:, tile.column_start : tile.column_start + tile.shape[1]]


def positives(tile: Tile) -> Bool[Tensor, "r c"]:
    """The pairs of query and true label that count."""
    targets, ignored = of_tile("targets", tile), of_tile("ignored", tile)
    assert targets is not None
    return targets if ignored is None else targets & ~ignored


def how_many(targets: Bool[Tensor, "B L"], ignored: Bool[Tensor, "B L"] | None = None) -> Int[Tensor, " B"]:
    """The number of positives of each query, a few queries at a time: a sum copies booleans to integers."""
    parts = zip(
        torch.split(targets, 64), torch.split(targets if ignored is None else ignored, 64), strict=True
    )
    return torch.cat([(true if ignored is None else true & ~gone).sum(1) for true, gone in parts])


class DecoupledSoftmax(LabelObjective):
    """Each true label competes with the false ones, and not with the other true ones.

        loss = −mean_i (1/|P_i|) Σ_{l ∈ P_i} log [ exp s_il / (exp s_il + Σ_{j ∉ P_i} exp s_ij) ],
        s_il = <q_i, z_l> / τ

    P_i are the labels that are true of query i. The current positive stays in the denominator; without it the
    loss would have no lower bound. A query whose labels are all true costs nothing; neither does one without
    a true label, and both count in the mean. With one true label each this is one-way `InfoNCE`.

    The paper's default draws one true label per query and step, and leaves its others out of the denominator
    too: give those as ``ignored``.

    Args:
        temperature: τ; a number is fixed.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Gupta et al., "Dual-Encoders for Extreme Multi-Label Classification" (2023), arXiv 2310.10636.

    >>> z = torch.eye(4)                              # two true, two false labels: log(1 + 2 / e)
    >>> true = torch.tensor([[True, True, False, False]])
    >>> round(DecoupledSoftmax(temperature=1.0)(z[:1] + z[1:2], z, targets=true).item(), 4)
    0.5514
    """

    def forward(
        self,
        queries: Float[Tensor, "B d"],
        labels_z: Float[Tensor, "L d"],
        *,
        targets: Bool[Tensor, "B L"],
        ignored: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of unit-norm queries and label vectors; ``targets`` say which labels are true of a query.

        ``ignored`` labels are neither positives nor negatives of a query, whatever ``targets`` say.
        """
        queries, labels_z = checked(queries, labels_z, targets, ignored)

        def negatives(tile: Tile) -> dict[str, dict[str, Reduction]]:
            true, gone = of_tile("targets", tile), of_tile("ignored", tile)
            assert true is not None
            logits = tile.dot().masked_fill(true if gone is None else true | gone, NEG)
            return {"row": {"negatives": LogSumExp(logits)}}

        masks = {"targets": targets, "ignored": ignored}
        r = self.over_labels(negatives, queries, labels_z, **masks)

        def against_them(tile: Tile) -> dict[str, dict[str, Reduction]]:
            log_p = F.logsigmoid(tile.dot() - tile.row.negatives[:, None])
            return {"row": {"log_p": Sum(torch.where(positives(tile), log_p, 0.0))}}

        r = self.over_labels(against_them, queries, labels_z, **masks, negatives=r.row.negatives)
        return -self.mean(r.row.log_p / how_many(targets, ignored).clamp_min(1))


class SoftTopK(LabelObjective):
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
    >>> round(SoftTopK(k=2)(z.sum(0, keepdim=True) / 2, z, targets=true).item(), 4)
    0.6931
    """

    def __init__(
        self, temperature: float | Temperature = 0.05, *, k: int | None = 5, alpha: float = 2.0
    ) -> None:
        super().__init__(temperature)
        if k is not None and k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if alpha <= 0:
            raise ValueError(f"alpha must be positive, got {alpha}")
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
        """The loss of unit-norm queries and label vectors; ``targets`` say which labels are true of a query.

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
        """The loss of complete rows."""
        count = positive.sum(1)
        k = count if self.k is None else torch.full_like(count, self.k)
        defined = (count > 0) & (k < (logits > NEG).sum(1))
        # Where no threshold exists any will do: the row is left out below, with its gradient.
        log_p = log_soft_top_k(logits, torch.where(defined, k, 0.5), self.alpha)
        loss = -torch.where(positive & defined[:, None], log_p, 0.0).sum(1)
        return loss / count.clamp_min(1)


def log_soft_top_k(
    x: Float[Tensor, "r L"], k: Float[Tensor, " r"], alpha: float = 2.0
) -> Float[Tensor, "r L"]:
    """``log σ(α (x + t))``, with the threshold t of each row at which the sigmoids sum to k.

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


class MultiLabelSoftmax(LabelObjective):
    """`InfoNCE` with several positives, all of which stay in the denominator of each.

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
    >>> round(MultiLabelSoftmax(temperature=1.0)(z[:1] + z[1:2], z, targets=true).item(), 4)
    2.0128
    """

    def __init__(
        self, temperature: float | Temperature = 0.05, *, reduction: Literal["sum", "mean"] = "sum"
    ) -> None:
        super().__init__(temperature)
        if reduction not in ("sum", "mean"):
            raise ValueError(f"reduction must be 'sum' or 'mean', got {reduction!r}")
        self.reduction = reduction

    def forward(
        self,
        queries: Float[Tensor, "B d"],
        labels_z: Float[Tensor, "L d"],
        *,
        targets: Bool[Tensor, "B L"],
    ) -> Float[Tensor, ""]:
        """The loss of unit-norm queries and label vectors; ``targets`` say which labels are true of a query."""
        queries, labels_z = checked(queries, labels_z, targets)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            return {"total": {"loss": WholeRow(self.row_loss, tile.dot(), positives(tile), tile.row.count)}}

        r = self.over_labels(terms, queries, labels_z, targets=targets, count=how_many(targets))
        total: Tensor = self.ranks.sum(r.total.loss)
        return total / self.count(queries)

    def row_loss(
        self, logits: Float[Tensor, "r L"], positive: Bool[Tensor, "r L"], count: Int[Tensor, " r"]
    ) -> Float[Tensor, " r"]:
        """The loss of complete rows."""
        loss = count * logits.logsumexp(1) - torch.where(positive, logits, 0.0).sum(1)
        return loss if self.reduction == "sum" else loss / count.clamp_min(1)


class OneVsAll(LabelObjective):
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
    >>> round(OneVsAll(temperature=1.0)(z[:1], z, targets=true).item(), 4)
    0.5982
    """

    symmetric = True

    def forward(
        self,
        queries: Float[Tensor, "B d"],
        labels_z: Float[Tensor, "L d"],
        *,
        targets: Bool[Tensor, "B L"],
    ) -> Float[Tensor, ""]:
        """The loss of unit-norm queries and label vectors; ``targets`` say which labels are true of a query."""
        queries, labels_z = checked(queries, labels_z, targets)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits = tile.dot()
            wrong = torch.where(positives(tile), -logits, logits)
            return {"total": {"all": Sum(softplus(wrong))}}

        r = self.over_labels(terms, queries, labels_z, targets=targets)
        total: Tensor = self.ranks.sum(r.total.all)
        return total / (self.count(queries) * len(labels_z))
