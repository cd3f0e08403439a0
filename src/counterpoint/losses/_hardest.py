"""The hardest negatives of a batch: by their similarity, or by how much it exceeds another model's."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import Reduction, Top, TopK
from ..pairwise.tile import Tile

_TIE = 1e-6
"""Share of the similarity in the order of gains: above rounding in float32, below any gain that means something. A
model equals its copy at first, and of all the gains, which are 0, that of the most similar is then taken, on any number
of ranks the same."""


def hardest(
    loss: PairwiseLoss, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"], *anchors: Float[Tensor, "B e"]
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Return the largest <x_i, y_j> − <a_i, b_j> over j ≠ i for each i, and over i ≠ j for each j.

    −inf, without gradient, where there is no other.

    Args:
        loss: by whose evaluator.
        x, y: pairs.
        anchors: a and b, as another model has the same pairs; nothing is subtracted unless given.
    """
    rows, columns = {"z": x}, {"z": y}
    if anchors:
        rows["anchor"], columns["anchor"] = anchors

    def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
        similarity = tile.dot()
        gain = similarity - tile.dot("anchor") if anchors else similarity
        order = gain + _TIE * similarity if anchors else gain
        top = TopK(tile.off_diagonal(order), 1, tile.off_diagonal(gain))
        return {"row": {"hardest": top}, "column": {"hardest": top}}

    r = loss.reduce(terms, rows=rows, columns=columns)
    of_rows: Top = r.row.hardest
    of_columns: Top = r.column.hardest
    return of_rows.values[:, 0], of_columns.values[:, 0]
