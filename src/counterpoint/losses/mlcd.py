"""MLCD: several classes of each example against the others, in two log-sum-exps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Finite, Positive
from ..pairwise.inputs import softplus
from ..pairwise.reductions import LogSumExp, Reduction
from ..pairwise.tile import NEG, Tile
from ._class_scores import ClassLoss, matched


class MLCDLoss(ClassLoss):
    """The positive classes of an example must lie above a bound, and all others below it.

    With P(i) the positive classes of an example, N(i) all others of the bank and s_ic = γ (<z_i, w_c> − m),

        loss        =  mean_i  log(1 + Σ_{p∈P(i)} exp(−s_ip)) + log(1 + Σ_{n∈N(i)} exp(s_in))
        with joint  =  mean_i  log(1 + Σ_{p∈P(i)} exp(−s_ip) · Σ_{n∈N(i)} exp(s_in))

    The first puts the bound at a cosine of m; the second (MLC, circle loss's form) asks for differences alone, in which
    m is lost. With m = 0 and γ of 8 and more positives end near a cosine of 0 and negatives below it. The classes are a
    bank of vectors, so that the scores of 100,000 of them need never exist at once. A class that is a positive of one
    example is a negative of another. An example without positives has the term of its negatives alone, none if joint.

    Args:
        scale: γ.
        shift: m.
        joint: whether positives and negatives share a logarithm.

    Raises:
        ValueError: for shapes that do not fit.

    Source: An et al., "Multi-label Cluster Discrimination for Visual Representation Learning" (2024), arXiv 2407.17331.
    γ and m of its experiments could not be found: a scale and a shift are what the group's released code has for one
    class an example, and their values here are this library's.

    >>> w = torch.eye(2)                              # log(1 + e^−0.5) + log(1 + e^−0.5)
    >>> round(MLCDLoss(1.0, 0.5)(w[:1], w, positives=torch.tensor([[0]])).item(), 4)
    0.9482
    """

    family = "clustering"
    papers = ("mlcd",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"scale": (4.0, 64.0), "shift": (0.05, 0.5)}

    def __init__(self, scale: Positive = 16.0, shift: Finite = 0.25, *, joint: bool = False) -> None:
        super().__init__()
        self.scale, self.shift, self.joint = scale, shift, joint

    def forward(
        self, z: Float[Tensor, "B d"], bank: Float[Tensor, "C d"], *, positives: Int[Tensor, "B l"]
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm examples and class vectors.

        Args:
            z: the examples.
            bank: w, the same on every rank.
            positives: the positions in ``bank`` of each example's classes, −1 for none.
        """
        z, bank = matched(z, bank)
        if positives.ndim != 2 or len(positives) != len(z) or positives.is_floating_point():
            raise ValueError(
                f"z is {tuple(z.shape)} but positives {tuple(positives.shape)} {positives.dtype}: "
                "row i of one must belong to row i of the other, some integers each"
            )

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            s, positive = tile.dot() - self.scale * self.shift, _among(tile)
            return {
                "row": {
                    "positives": LogSumExp((-s).masked_fill(~positive, NEG)),
                    "negatives": LogSumExp(s.masked_fill(positive, NEG)),
                }
            }

        rows = {"z": self.scale * z, "positives": positives}
        r = self.reduce(terms, rows=rows, columns={"z": bank}, same_columns=True).row
        if self.joint:
            return self.mean(softplus(r.positives + r.negatives))
        return self.mean(softplus(r.positives) + softplus(r.negatives))


def _among(tile: Tile) -> Bool[Tensor, "r c"]:
    """Return which columns of a tile are positives of its rows."""
    rows, count = tile.shape
    position = tile.row.positives - tile.column_start
    # What is not of this tile goes to one column more.
    position = torch.where((position >= 0) & (position < count), position, count)
    return position.new_zeros(rows, count + 1, dtype=torch.bool).scatter_(1, position, True)[:, :count]
