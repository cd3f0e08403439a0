"""Shared parts of the losses over a bank of labels: targets, masks and counts."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reduce import ReductionResults, Terms
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile


class LabelLoss(PairwiseLoss):
    """The shared base of the losses of queries ``(B, d)`` against label vectors ``(L, d)``.

    The label vectors are the same on every rank. Their gradient there is the part of that rank's own queries;
    averaged over ranks, as data parallelism does, it is that of one process.
    """

    papers = ("dexml",)

    def __init__(self, temperature: Positive | Temperature = 0.05) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.05))

    def over_labels(
        self, terms: Terms, queries: Tensor, labels_z: Tensor, **row: Tensor | None
    ) -> ReductionResults:
        """Reduce the logits ``<q_i, z_l> / τ``, with those row tensors beside the queries that there are."""
        beside = {name: tensor for name, tensor in row.items() if tensor is not None}
        rows = {"z": self.temperature.scale(queries), **beside}
        return self.reduce(terms, rows=rows, columns={"z": labels_z}, same_columns=True)


def checked(
    queries: Tensor, labels_z: Tensor, targets: Tensor, ignored: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the queries, and the label vectors in the same precision; refuse shapes that do not fit."""
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


def of_tile(name: str, tile: Tile) -> Shaped[Tensor, "r c"] | None:
    """Return the columns of a mask ``(r, L)``, or numbers, that are the columns of the tile; None where there is none.

    A mask is as large as the similarity matrix: what is made of it is made here, tile by tile.
    """
    mask: Tensor | None = getattr(tile.row, name, None)
    return None if mask is None else mask[:, tile.column_start : tile.column_start + tile.shape[1]]


def positives(tile: Tile) -> Bool[Tensor, "r c"]:
    """Return the pairs of query and true label that count."""
    targets, ignored = of_tile("targets", tile), of_tile("ignored", tile)
    assert targets is not None
    return targets if ignored is None else targets & ~ignored


def how_many(targets: Bool[Tensor, "B L"], ignored: Bool[Tensor, "B L"] | None = None) -> Int[Tensor, " B"]:
    """Return the number of positives of each query, a few queries at a time: a sum copies booleans to integers."""
    parts = zip(
        torch.split(targets, 64), torch.split(targets if ignored is None else ignored, 64), strict=True
    )
    return torch.cat([(true if ignored is None else true & ~gone).sum(1) for true, gone in parts])
