"""Negatives from a bank of keys, a queue's, that every rank holds alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..pairwise import recording
from ..pairwise.reductions import Top
from ..pairwise.tile import NEG, Tile


def against(
    anchors: Tensor, queue: Tensor, ids: Tensor | None = None, queue_ids: Tensor | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the row and column tensors of anchors ``(B, d)`` against a bank ``(K, d)``, which gets no gradient.

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
        for name, ids_of, of in (("ids", ids, anchors), ("queue_ids", queue_ids, queue)):
            if ids_of.shape != of.shape[:1] or ids_of.is_floating_point():
                raise ValueError(
                    f"{name} must be one integer per row, ({len(of)},), got {tuple(ids_of.shape)} {ids_of.dtype}"
                )
        rows["id"], columns["id"] = ids, queue_ids
    return rows, columns


def others(tile: Tile, scores: Tensor) -> Tensor:
    """Return the scores of a tile, −inf where the key is one of the anchor's own item."""
    if not hasattr(tile.row, "id"):
        return scores
    return scores.masked_fill(tile.same("id"), NEG)


def no_other(top: Top, rows: Mapping[str, Tensor], columns: Mapping[str, Tensor]) -> Tensor:
    """Mark places where a `TopK` by `others` had too few to choose from, and took a key of the anchor's own item."""
    if "id" not in rows:
        return torch.zeros_like(top.indices, dtype=torch.bool)
    return (top.indices < 0) | (columns["id"][top.indices] == rows["id"][:, None])


def chosen(
    anchors: Float[Tensor, "B d"],
    bank: Float[Tensor, "K d"],
    indices: Int[Tensor, "B k"],
    values: Float[Tensor, "B k"],
) -> Float[Tensor, "B k"]:
    """Return dot products of anchors with chosen keys that a sweep has found, with their gradient in the anchors.

    ``values[i, j]`` is that of anchor i with the key ``bank[indices[i, j]]``. The gradient needs no second matrix, nor
    the keys copied out.

    >>> x = torch.eye(2).requires_grad_()
    >>> logits = chosen(x, x.detach(), torch.tensor([[0, 1]] * 2), x.detach())
    >>> torch.autograd.grad(logits.logsumexp(1).sum(), x)[0]
    tensor([[0.7311, 0.2689],
            [0.2689, 0.7311]])
    """
    if recording.ACTIVE.get() is not None:  # `explain` asks for the gradient at every score
        return recording.matrix(anchors @ bank.T, anchors, bank).gather(1, indices.clamp_min(0))
    return _Chosen.apply(anchors, bank, indices, values)  # type: ignore[no-untyped-call] # torch's


class _Chosen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchors: Tensor, bank: Tensor, indices: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(bank, indices)
        return values.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        bank, indices = ctx.saved_tensors
        there = grad * (indices >= 0)
        return (
            F.embedding_bag(indices.clamp_min(0), bank, mode="sum", per_sample_weights=there),
            None,
            None,
            None,
        )
