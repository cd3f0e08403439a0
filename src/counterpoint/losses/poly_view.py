"""Poly-view contrast: each view against all other views of its example at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import dot, paired_views
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile

PolyViewMode = Literal["geometric", "arithmetic", "sufficient"]


class PolyViewLoss(PairwiseLoss):
    """Contrast that makes it likely, among all views of all other examples, that each view belongs to its own example.

    With M views, the likelihood that view a of example i goes with its view b, against the M (B − 1) views of
    the others, is

        l_iab = e_iab / (e_iab + Σ_{j≠i} Σ_g exp(<z_i^a, z_j^g>/τ)),   e_iab = exp(<z_i^a, z_i^b>/τ)

    ==============  =========================================================================================
    ``geometric``   ``−mean_{i,a} mean_{b≠a} log l_iab``
    ``arithmetic``  ``−mean_{i,a} log mean_{b≠a} l_iab``; never above the geometric one
    ``sufficient``  ``−mean_{i,a} log l̃_ia``: l̃ compares z_i^a and the views of the others with the mean of
                    the other views of i, ``mean_{b≠a} z_i^b``
    ==============  =========================================================================================

    The other positives stay out of the denominator (with them in it, it would be SupCon's form). Two views
    give NT-Xent in all modes. A batch of one has no negatives: the loss is 0. Different M are to be compared
    at equal B · M · epochs.

    Args:
        mode: how the likelihoods of the pairs are joined.
        temperature: τ; a number is fixed.
        unit_rest: whether the mean of the other views is brought back to the sphere; the paper is taken to
            leave it inside.

    Raises:
        ValueError: for an unknown mode, ``unit_rest`` in a mode without a rest, fewer than two views, or views
            that do not match.

    Source: Shidani et al., "Poly-View Contrastive Learning" (2024), arXiv 2403.05490.

    >>> x = torch.eye(4)                              # the positive at 1, nine others at 0: log(1 + 9 / e)
    >>> round(PolyViewLoss(temperature=1.0)(x, x, x).item(), 4)
    1.4612
    """

    family = "softmax"
    is_method = True
    symmetric = True
    many_views = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.5)}
    papers = ("poly-view",)

    def __init__(
        self,
        mode: PolyViewMode = "geometric",
        *,
        temperature: Positive | Temperature = 0.1,
        unit_rest: bool = False,
    ) -> None:
        super().__init__()
        if unit_rest and mode != "sufficient":
            raise ValueError(f"unit_rest is for mode='sufficient'; {mode!r} takes no mean of views")
        self.mode, self.unit_rest = mode, unit_rest
        self.temperature = Temperature.of(temperature, Temperature(0.1))

    def forward(self, *views: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of two or more unit-norm views of the same examples."""
        each = paired_views(views)
        count, n = len(each), len(each[0])
        z = torch.cat(each)
        item = self.index(each[0]).repeat(count)
        if self.mode == "sufficient":
            rest = (torch.stack(each).sum(0).repeat(count, 1) - z) / (count - 1)
            anchor = self.temperature.scale(F.normalize(rest, dim=-1) if self.unit_rest else rest)
            positive = dot(anchor, z)[None]
        else:
            anchor = self.temperature.scale(z)
            positive = torch.stack([dot(anchor, z.roll(k * n, 0)) for k in range(1, count)])

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            same = tile.same("item")
            return {"row": {"negatives": LogSumExp(tile.dot().masked_fill(same, NEG))}}

        r = self.reduce(terms, rows={"z": anchor, "item": item}, columns={"z": z, "item": item})
        likelihood = positive - torch.logaddexp(positive, r.row.negatives[None])
        if self.mode == "arithmetic":
            return -self.mean(likelihood.logsumexp(0) - math.log(count - 1))
        return -self.mean(likelihood.mean(0))
