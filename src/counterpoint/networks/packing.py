"""Several exchanges behind the pictures of a row, each of which sees these and itself."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def packed_positions(exchange: Int[Tensor, "B L"], opening: int, count: int) -> Int[Tensor, "B M"]:
    """Return the position of each token of packed conversations and of the pictures in them.

    Each exchange is counted on from the pictures, as if it stood there alone.

    Args:
        exchange: the number of each token's exchange; 0 for padding.
        opening: tokens in front of the pictures.
        count: tokens of the pictures.

    >>> packed_positions(torch.tensor([[1, 1, 1, 2, 2, 0]]), 1, 2)
    tensor([[0, 1, 2, 3, 4, 3, 4, 3]])
    """
    behind = exchange[:, opening:]
    length = behind.shape[1]
    same = (behind[:, :, None] == behind[:, None]) & torch.ones(
        length, length, dtype=torch.bool, device=exchange.device
    ).tril()
    shared = torch.arange(opening + count, device=exchange.device).expand(len(exchange), -1)
    return torch.cat([shared, opening + count - 1 + same.sum(2)], 1)


def packed_mask(exchange: Int[Tensor, "B L"], opening: int, count: int) -> Bool[Tensor, "B M M"]:
    """Return which token (last axis) each one sees: the opening, the pictures, and its own exchange up to itself.

    The arguments are those of `packed_positions`.
    """
    shared = exchange.new_zeros(len(exchange), opening + count)
    number = torch.cat([shared, exchange[:, opening:].masked_fill(exchange[:, opening:] == 0, -1)], 1)
    length = number.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=exchange.device).tril()
    return causal & ((number[:, :, None] == number[:, None]) | (number[:, None] == 0))
