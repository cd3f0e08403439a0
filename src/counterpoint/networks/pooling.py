"""From the states of all tokens of a caption to one vector."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .base import Pooling


def inside(tokens: Int[Tensor, "B L"], end: int) -> Bool[Tensor, "B L"]:
    """Which tokens belong to the caption: those up to and with its first ``end``, or else all.

    >>> inside(torch.tensor([[1, 7, 2, 0]]), end=2).tolist()
    [[True, True, True, False]]
    """
    ends = (tokens == end).long()
    return ends.cumsum(1) - ends == 0


def pool(states: Float[Tensor, "B L W"], mask: Bool[Tensor, "B L"], how: Pooling) -> Float[Tensor, "B W"]:
    """One vector per caption from the states inside ``mask``.

    >>> pool(torch.tensor([[[1.0], [4.0], [9.0]]]), torch.tensor([[True, True, False]]), "max").item()
    4.0

    Args:
        states: the state of every token.
        mask: which tokens belong to the caption; they come first, and there is one at least.
        how: the caption's last token (``"end"``), its ``"first"``, the ``"mean"`` or the ``"max"`` of all.

    Source: the end token: CLIP (arXiv 2103.00020); the masked maximum: ConVIRT (arXiv 2010.00747).
    """
    if how == "first":
        return states[:, 0]
    if how == "end":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    if how == "mean":
        return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return states.masked_fill(~mask[..., None], -torch.inf).amax(1)
