"""Pooling of captions: the tokens that are a caption's own, and from their states to one vector."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...base import Pooling


def inside(tokens: Int[Tensor, "B L"], end: int, *, begins_with_end: bool = False) -> Bool[Tensor, "B L"]:
    """Return which tokens belong to the caption: those up to and with its first ``end``, or else all.

    >>> inside(torch.tensor([[1, 7, 2, 0]]), end=2).tolist()
    [[True, True, True, False]]

    Args:
        tokens: padded on the right.
        end: the end token.
        begins_with_end: whether captions begin with that token too, as OPT's do; the first one ends nothing then.
    """
    ends = (tokens == end).long()
    if begins_with_end:
        ends[:, 0] = 0
    return ends.cumsum(1) - ends == 0


class Packing:
    """The way between a padded grid of token states and the states of the captions' own tokens alone.

    >>> packing = Packing(torch.tensor([[True, True], [True, False]]))
    >>> packed = packing.pack(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]))
    >>> packed.squeeze(1).tolist(), packing.unpack(packed).squeeze(2).tolist()
    ([1.0, 2.0, 3.0], [[1.0, 2.0], [3.0, 0.0]])
    """

    def __init__(self, mask: Bool[Tensor, "B L"]) -> None:
        self.mask = mask
        self._places = mask.flatten().nonzero().squeeze(1)

    def pack(self, grid: Float[Tensor, "B L W"]) -> Float[Tensor, "n W"]:
        """Return the states of the captions' own tokens, caption after caption."""
        return grid.flatten(0, 1)[self._places]

    def unpack(self, packed: Float[Tensor, "n W"]) -> Float[Tensor, "B L W"]:
        """Return the grid again, with zeros for padding."""
        grid = packed.new_zeros(self.mask.numel(), packed.shape[1])
        return grid.index_copy(0, self._places, packed).view(*self.mask.shape, packed.shape[1])


def pool(states: Float[Tensor, "B L W"], mask: Bool[Tensor, "B L"], how: Pooling) -> Float[Tensor, "B W"]:
    """Return one vector per caption from the states inside ``mask``.

    >>> pool(torch.tensor([[[1.0], [4.0], [9.0]]]), torch.tensor([[True, True, False]]), "max").item()
    4.0

    Args:
        states: the state of every token.
        mask: which tokens belong to the caption; they come first, and there is one at least.
        how: one of `Pooling`.

    Source: the end token: CLIP (arXiv 2103.00020); the masked maximum: ConVIRT (arXiv 2010.00747); the last two:
    sentence-transformers, and SGPT (arXiv 2202.08904) for the weights.
    """
    if how == "first":
        return states[:, 0]
    if how == "end":
        rows = torch.arange(states.shape[0], device=states.device)  # len() would be a constant to an exporter
        return states[rows, mask.sum(1) - 1]
    if how == "max":
        return states.masked_fill(~mask[..., None], -torch.inf).amax(1)
    weights = mask.cumsum(1) * mask if how == "weighted_mean" else mask
    count = weights.sum(1, keepdim=True)
    return (states * weights[..., None]).sum(1) / (count.sqrt() if how == "mean_sqrt" else count)
