"""Alignment of positives and uniformity on the sphere, as numbers and as a loss."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired, paired_views, squared_distance
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.tile import Tile

__all__ = ["AlignUniformLoss", "alignment", "cross_uniformity", "uniformity"]

Power = Annotated[float, Field(ge=1)]
"""Range of α; below, the gradient of a perfect match is infinite."""


class AlignUniformLoss(PairwiseLoss):
    """Positives close together, everything spread over the sphere.

        loss = w_a · mean_i ‖x_i − y_i‖^α + w_u · (U(x) + U(y)) / 2,
        U(x) = log mean_{i ≠ j} exp(−t ‖x_i − x_j‖²)

    Of more than two views it is the mean over pairs of views. Uniformity is per view and then averaged: over the pooled
    views it would drive positives apart. A batch of one has no pairs; its uniformity is 0, with a warning.

    Args:
        alignment: w_a.
        uniformity: w_u.
        alpha: α ≥ 1.
        t: > 0; the paper's metric has t = 2.

    Source: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere" (2020), arXiv 2005.10242.

    >>> x = torch.eye(2)                              # two points at squared distance 2: U = -2 * 2
    >>> AlignUniformLoss()(x, x).item()
    -4.0
    """

    family = "alignment and uniformity"
    is_method = True
    symmetric = True
    many_views = True
    papers = ("align-uniform",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"uniformity": (0.25, 4.0)}

    def __init__(
        self, alignment: float = 1.0, uniformity: float = 1.0, *, alpha: Power = 2.0, t: Positive = 2.0
    ) -> None:
        super().__init__()
        self.alignment, self.uniformity = alignment, uniformity
        self.alpha, self.t = alpha, t

    def forward(self, *views: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of two or more unit-norm views of the same examples."""
        z = paired_views(views)
        loss = self.alignment * torch.stack([self.aligned(x, y) for x, y in combinations(z, 2)]).mean()
        if self.uniformity:
            loss = loss + self.uniformity * torch.stack([self.spread(x, x) for x in z]).mean()
        return loss

    def aligned(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return ``mean_i ‖x_i − y_i‖^α``."""
        if self.alpha == 2:
            return self.mean(squared_distance(x, y))
        return self.mean(torch.linalg.vector_norm(x - y, dim=-1) ** self.alpha)

    def spread(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return ``log mean_{i ≠ j} exp(−t ‖x_i − y_j‖²)``: uniformity where y is x, else cross-uniformity."""
        n = self.count(x)
        if n < 2:
            warnings.warn("uniformity of fewer than 2 points is undefined; 0 is returned", stacklevel=2)
            return x.sum() * 0.0

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            return {"total": {"pairs": LogSumExp(tile.off_diagonal(-self.t * tile.squared_distance()))}}

        r = self.reduce(terms, rows={"z": x}, columns={"z": y})
        total: Tensor = r.total.pairs
        return total - math.log(n * (n - 1))


def alignment(x: Float[Tensor, "B d"], y: Float[Tensor, "B d"], alpha: float = 2.0) -> Float[Tensor, ""]:
    """Return ``mean_i ‖x_i − y_i‖^α`` of unit-norm x and y; lower is better, 0 is a perfect match.

    Source: Wang and Isola (2020), arXiv 2005.10242.

    >>> alignment(torch.eye(2), -torch.eye(2)).item()
    4.0
    """
    x, y = paired(x=x, y=y)
    return AlignUniformLoss(alpha=alpha).aligned(x, y)


def uniformity(x: Float[Tensor, "B d"], t: float = 2.0) -> Float[Tensor, ""]:
    """Return ``log mean_{i ≠ j} exp(−t ‖x_i − x_j‖²)`` of unit-norm x; lower is better, 0 is total collapse.

    Points spread evenly over a sphere of many dimensions d give about −2t + 2t²/d.

    Source: Wang and Isola (2020), arXiv 2005.10242.

    >>> uniformity(torch.ones(3, 4) / 2).item()
    0.0
    """
    (x,) = paired(x=x)
    return AlignUniformLoss(t=t).spread(x, x)


def cross_uniformity(x: Float[Tensor, "B d"], y: Float[Tensor, "B d"], t: float = 2.0) -> Float[Tensor, ""]:
    """Return ``log mean_{i ≠ j} exp(−t ‖x_i − y_j‖²)``: how far from each other the pairs that do not match are.

    >>> cross_uniformity(torch.eye(2), torch.eye(2)).item()
    -4.0
    """
    x, y = paired(x=x, y=y)
    return AlignUniformLoss(t=t).spread(x, y)
