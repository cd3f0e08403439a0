"""Negatives from a bank of keys, a queue's, that every rank holds alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...pairwise.reductions import Top
from ...pairwise.tile import NEG, Tile


def against(
    anchors: Tensor, queue: Tensor, ids: Tensor | None = None, queue_ids: Tensor | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The row and column tensors of anchors ``(B, d)`` against a bank ``(K, d)``, which gets no gradient.

    Raises:
        ValueError: for a bank that is empty or of another width, or ids that are not one integer per anchor
            and one per key.
    """
    if queue.ndim != 2 or not len(queue) or queue.shape[1] != anchors.shape[1]:
        raise ValueError(
            f"the queue must be (K, {anchors.shape[1]}) with K >= 1, as wide as the queries; "
            f"got {tuple(queue.shape)}"
        )
    rows, columns = {"z": anchors}, {"z": queue.detach().to(anchors.dtype)}
    if (ids is None) != (queue_ids is None):
        raise ValueError("ids and queue_ids are compared with each other: give both, or neither")
    if ids is not None and queue_ids is not None:
        for name, given, of in (("ids", ids, anchors), ("queue_ids", queue_ids, queue)):
            if given.shape != of.shape[:1] or given.is_floating_point():
                raise ValueError(
                    f"{name} must be one integer per row, ({len(of)},), got {tuple(given.shape)} {given.dtype}"
                )
        rows["id"], columns["id"] = ids, queue_ids
    return rows, columns


def others(tile: Tile, scores: Tensor) -> Tensor:
    """The scores of a tile, −inf where the key is one of the anchor's own item."""
    if not hasattr(tile.row, "id"):
        return scores
    return scores.masked_fill(tile.same("id"), NEG)


def no_other(top: Top, rows: Mapping[str, Tensor], columns: Mapping[str, Tensor]) -> Tensor:
    """Where a `TopK` by `others` had too few to choose from, and took a key of the anchor's own item."""
    if "id" not in rows:
        return torch.zeros_like(top.indices, dtype=torch.bool)
    return (top.indices < 0) | (columns["id"][top.indices] == rows["id"][:, None])
