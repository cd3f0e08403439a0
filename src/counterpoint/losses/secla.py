"""SECLA: a bag of boxes and a bag of names, compared from both sides, which are to agree."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import NonNegative, Positive
from ..pairwise import recording
from ..pairwise.inputs import upcast
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile
from .filip import late
from .mil import check_bags, middle, of_pairs, with_mask


class SECLALoss(PairwiseLoss):
    """Cross-entropy over bags in both directions, and the squared difference of the directions for matching bags.

        s_xy(i, j) = mean over x in X_i of max over y in Y_j of <x, y> / τ
        s_yx(i, j) = mean over y in Y_i of max over x in X_j of <x, y> / τ
        loss = mean_i CE(s_xy(i, ·), i) + mean_i CE(s_yx(i, ·), i) + α mean_i (s_xy(i, i) − s_yx(i, i))²

    Padding takes part in no maximum and no mean, and each direction has its own count. Without agreement this is twice
    `FILIPLoss`; with single vectors a side it is twice InfoNCE. On several ranks N and M must be the same everywhere. A
    ``tile`` of r and c bags holds r · N · c · M similarities; unless given, it is so many times smaller.

    Args:
        agreement: α.
        directions: ``"both"``, or ``"names"`` for s_yx alone, without agreement.
        pooling: ``"mean"`` has means in place of maxima. This is a control.
        temperature: τ; a number is fixed. The default is learned from 0.07 within [0.01, 1]. The paper has vectors that
            are not normalised and τ = 1.

    Raises:
        ValueError: for inputs or masks whose shapes do not fit, or a bag that is masked as a whole.

    Source: Qu et al., "Weakly Supervised Face Naming with Symmetry-Enhanced Contrastive Loss" (2022), arXiv 2210.08957.
    In the released code padding takes part, and both directions of the agreement have the count of names.

    >>> x = torch.eye(8)[:, None]                     # single vectors: 2 log(1 + 7 / e)
    >>> round(SECLALoss(temperature=1.0)(x, x).item(), 4)
    2.548
    """

    family = "local features"
    papers = ("secla",)

    def __init__(
        self,
        *,
        agreement: NonNegative = 0.15,
        directions: Literal["both", "names"] = "both",
        pooling: Literal["max", "mean"] = "max",
        temperature: Positive | Temperature | None = None,
    ) -> None:
        super().__init__()
        self.agreement, self.directions, self.pooling = agreement, directions, pooling
        self.temperature = Temperature.of(temperature, Temperature(0.07, bounds=(0.01, 1.0)))

    def forward(
        self,
        x: Float[Tensor, "B N d"],
        y: Float[Tensor, "B M d"],
        *,
        x_mask: Bool[Tensor, "B N"] | None = None,
        y_mask: Bool[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of boxes ``x`` and names ``y``; masks are True where one is."""
        check_bags(x, y, x_mask, y_mask)
        x, y = upcast(x), upcast(y)
        if self.pooling == "mean":  # linear in both: the mean vectors of the bags will do
            x, y, x_mask, y_mask = middle(x, x_mask), middle(y, y_mask), None, None
        both = self.directions == "both"

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            h = tile.dot()
            masks, a, b = of_pairs(tile), tile.row.z, tile.column.z
            of_y = recording.matrix(late(h.mT, *masks[::-1]).mT, b, a).mT
            sums: dict[str, dict[str, Reduction]] = {"column": {"all": LogSumExp(of_y * tile.scale)}}
            if both:
                of_x = recording.matrix(late(h, *masks), a, b)
                sums["row"] = {"all": LogSumExp(of_x * tile.scale)}
            return sums

        scale = self.temperature.inverse(x.dtype).to(x.device)
        r = self.reduce(
            terms,
            rows=with_mask(x, x_mask),
            columns=with_mask(y, y_mask),
            shared={"scale": scale},
            bags=(x.shape[1], y.shape[1]),
        )
        with torch.autocast(x.device.type, enabled=False):
            h = torch.einsum("bnd,bmd->bnm", x, y)
            of_y = recording.diagonal(late(h.mT, y_mask, x_mask), y, x) * scale
            if not both:
                return self.mean(r.column.all - of_y)
            of_x = recording.diagonal(late(h, x_mask, y_mask), x, y) * scale
            apart = self.agreement * (of_x - of_y).square()
        return self.mean(r.row.all + r.column.all - of_x - of_y + apart)
