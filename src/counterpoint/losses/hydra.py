"""Hydra: any two classes may attract each other, in the dimensions that a gate of the two leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired, softplus
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Sum
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile


class HydraLoss(PairwiseLoss):
    """Anchor i must find every y_j of its target class b_i among those of neither b_i nor its own class a_i.

        S_ij = <g_i ⊙ x_i, g_i ⊙ y_j> / τ,   N_i = log Σ_{j: y_j ∉ {a_i, b_i}} exp S_ij
        loss = mean_{(i, j): y_j = b_i}  log(exp S_ij + exp N_i) − S_ij

    with g_i in [0, 1]^d the gate of the pair (a_i, b_i). The mean is over all pairs alike, each positive has a
    denominator of its own, and whatever is of the anchor's own class has no say unless that is its target. Without
    gates and with targets that are the classes themselves it is supervised contrast of two views, one way; where
    classes are distinct, too, InfoNCE one way.

    Two reductions: N_i is a row of the one that adds up positives. The authors' released code was not found again to
    check this form by.

    Args:
        temperature: τ; learned from 0.1 on unless given.
        renormalised: whether S is the cosine of gated vectors; otherwise what is gated away makes S smaller.

    Raises:
        ValueError: for labels or targets that are not one integer a row, gates that are not one number a dimension, or
            views that do not match.

    Source: Wu et al., "Rethinking Positive Pairs in Contrastive Learning" (2024), arXiv 2410.18200.

    >>> x, labels, targets = torch.eye(4), torch.tensor([0, 0, 1, 2]), torch.tensor([1, 1, 0, -1])
    >>> round(HydraLoss(1.0)(x, x, labels=labels, targets=targets).item(), 4)        # log(1 + 1): one negative each
    0.6931
    """

    family = "supervised"
    is_method = True
    needs_labels: ClassVar[bool] = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.5)}
    papers: ClassVar[tuple[str, ...]] = ("hydra",)

    def __init__(
        self, temperature: Positive | Temperature | None = None, *, renormalised: bool = False
    ) -> None:
        super().__init__()
        self.temperature, self.renormalised = Temperature.of(temperature, Temperature(0.1)), renormalised

    def forward(
        self,
        x: Float[Tensor, "B d"],
        y: Float[Tensor, "B d"],
        *,
        labels: Int[Tensor, " B"],
        targets: Int[Tensor, " B"] | None = None,
        gates: Float[Tensor, "B d"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of two unit-norm views of the same examples.

        Args:
            x: the views that are anchors.
            y: those that are found.
            labels: the class of each example; one without a class, −1, is neither anchor nor found.
            targets: the class that each anchor is to be like, −1 for none; its own unless given.
            gates: of each anchor, from 0 for a dimension that is closed to 1; all open unless given.
        """
        x, y = paired(x=x, y=y)
        targets = labels if targets is None else targets
        gates = torch.ones_like(x) if gates is None else gates.to(x.dtype)
        for name, one, shape in (("labels", labels, x.shape[:1]), ("targets", targets, x.shape[:1])):
            if one.shape != shape or one.is_floating_point():
                raise ValueError(
                    f"{name} must be one integer per row, ({len(x)},), got {tuple(one.shape)} {one.dtype}"
                )
        if gates.shape != x.shape:
            raise ValueError(
                f"gates must be one number per row and dimension, {tuple(x.shape)}, got {tuple(gates.shape)}"
            )
        open_ = gates.square()
        rows = {"z": self.temperature.scale(x * open_), "labels": labels}
        rows["targets"] = torch.where(labels < 0, -1, targets)
        columns = {"z": y, "labels": labels}
        if self.renormalised:
            rows |= {"z": self.temperature.scale(F.normalize(x * gates, dim=-1) * gates), "open": open_}
            columns["squares"] = y.square()

        def scores(tile: Tile) -> tuple[Tensor, Tensor]:
            """Return S, and True for pairs of an anchor and its target class."""
            logits = tile.dot()
            if self.renormalised:
                logits = logits * tile.dot("open", "squares").clamp_min(1e-12).rsqrt()
            positive = tile.row.targets[:, None] == tile.column.labels[None]
            return logits, positive & (tile.row.targets >= 0)[:, None]

        def against(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            logits, positive = scores(tile)
            negative = ~(positive | tile.same("labels")) & (tile.column.labels >= 0)[None]
            return {"row": {"negatives": LogSumExp(logits.masked_fill(~negative, NEG))}}

        def towards(tile: Tile) -> dict[str, dict[str, Sum]]:
            logits, positive = scores(tile)
            losses = softplus(tile.row.negatives[:, None] - logits)
            return {"row": {"loss": Sum(losses * positive), "count": Sum(positive.to(logits))}}

        negatives = self.reduce(against, rows=rows, columns=columns).row.negatives
        r = self.reduce(towards, rows={**rows, "negatives": negatives}, columns=columns).row
        return self.mean(r.loss / r.count.clamp_min(1), weights=r.count)
