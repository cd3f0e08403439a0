"""Proto-Triplet: a margin between the distances to the own and to the nearest other prototype, or to all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor

from ..forms import NonNegative
from ..pairwise.inputs import squared_distance
from ..pairwise.reductions import Reduction, Sum, TopK
from ..pairwise.tile import NEG, Tile
from ._class_scores import ClassLoss, checked

EPSILON = 1e-6
"""Beside squared distances under a root, whose gradient at 0 is infinite; the release's."""


class ProtoTripletLoss(ClassLoss):
    """Each query must be nearer by a margin to the prototype of its class than to any other.

        loss = mean_q max(0, d(z_q, p_y) − min_{c≠y} d(z_q, p_c) + m),   d(a, b)² = ‖a − b‖² + 10⁻⁶

    With ``others="all"`` the mean over all c ≠ y of the same margin stands in place of the nearest: the expectation of
    a triplet loss whose negative is drawn at random, which is the plain thing that the paper has to beat.

    The margin is that of embeddings of moderate scale that are not normalised; unit vectors are at most 2 apart. The
    loss is 0 where there is one prototype alone.

    Args:
        margin: m.
        others: the prototypes of other classes that count, ``nearest`` or ``all``.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Méndez-Ruiz et al., "SuSana Distancia is all you need: Enforcing class separability in metric learning via
    two novel distance-based loss functions for few-shot image classification" (2023), arXiv 2305.09062.

    >>> import torch
    >>> p = torch.tensor([[0.0], [3.0], [9.0]])       # distances 1 and 2
    >>> round(ProtoTripletLoss(margin=1.5)(torch.tensor([[1.0]]), p, labels=torch.tensor([0])).item(), 4)
    0.5
    >>> round(ProtoTripletLoss(1.5, others="all")(torch.tensor([[1.0]]), p, labels=torch.tensor([0])).item(), 4)
    0.25
    """

    family = "supervised"
    papers = ("susana-distancia",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"margin": (0.1, 2.0)}

    def __init__(self, margin: NonNegative = 0.5, *, others: Literal["nearest", "all"] = "nearest") -> None:
        super().__init__()
        self.margin, self.others = margin, others

    def forward(
        self, z: Float[Tensor, "B d"], bank: Float[Tensor, "C d"], *, labels: Int[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """Return the loss of queries and prototypes; see `ProtoNetLoss` for the arguments."""
        z, bank = checked(z, bank, labels)
        y = labels.clamp_min(0)
        own = _distance(squared_distance(z, bank[y]))

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            squared, mine = tile.squared_distance().clamp_min(0.0), tile.row.label[:, None] == tile.j
            if self.others == "nearest":
                return {"row": {"nearness": TopK((-squared).masked_fill(mine, NEG), 1)}}
            over = (tile.row.own[:, None] - _distance(squared) + self.margin).relu()
            return {"row": {"over": Sum(over.masked_fill(mine, 0.0))}}

        rows = {"z": z, "label": y, "own": own}
        r = self.reduce(terms, rows=rows, columns={"z": bank}, same_columns=True)
        if self.others == "nearest":
            over = (own - _distance(-r.row.nearness.values[:, 0]) + self.margin).relu()
        else:
            over = r.row.over / max(len(bank) - 1, 1)
        return self.mean_of_known(over, labels, None)


def _distance(squared: Tensor) -> Tensor:
    return (squared + EPSILON).sqrt()
