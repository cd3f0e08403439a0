"""Softmax over labels in which the positives of a row do not compete."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..pairwise.reductions import LogSumExp, Reduction, Sum
from ..pairwise.tile import NEG, Tile
from ._labels import LabelLoss, checked, how_many, of_tile, positives

PAPERS = {"dexml": ("DecoupledSoftmaxLoss",)}


class DecoupledSoftmaxLoss(LabelLoss):
    """Each true label competes with the false ones, and not with the other true ones.

        loss = −mean_i (1/|P_i|) Σ_{l ∈ P_i} log [ exp s_il / (exp s_il + Σ_{j ∉ P_i} exp s_ij) ],
        s_il = <q_i, z_l> / τ

    P_i are the labels that are true of query i. The current positive stays in the denominator; without it the
    loss would have no lower bound. A query whose labels are all true costs nothing; neither does one without
    a true label, and both count in the mean. With one true label each this is one-way `InfoNCELoss`.

    The paper's default draws one true label per query and step, and leaves its others out of the denominator
    too: give those as ``ignored``.

    Args:
        temperature: τ; a number is fixed.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Gupta et al., "Dual-Encoders for Extreme Multi-Label Classification" (2023), arXiv 2310.10636.

    >>> z = torch.eye(4)                              # two true, two false labels: log(1 + 2 / e)
    >>> true = torch.tensor([[True, True, False, False]])
    >>> round(DecoupledSoftmaxLoss(temperature=1.0)(z[:1] + z[1:2], z, targets=true).item(), 4)
    0.5514
    """

    family = "labels"

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
        return -self.mean(r.row.log_p / how_many(targets, ignored).clamp_min(1), weights)
