"""Draws for pairs and for rows by counter: a hash of places in the batch, so that neither tiles nor ranks matter."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

LEVELS = 4096
"""Quantiles of a distribution that is drawn from."""
_BITS = 12


def quantiles(a: float, b: float) -> Float[Tensor, " levels"]:
    """Return as many equally likely values of a Beta(a, b) distribution as `drawn` chooses from, in their order.

    >>> quantiles(1.0, 1.0)[[0, -1]].tolist()
    [0.0001220703125, 0.9998779296875]
    """
    from scipy.stats import beta  # here, as it takes half a second

    return torch.from_numpy(beta.ppf((np.arange(LEVELS) + 0.5) / LEVELS, a, b)).float()


def keys(indices: Int[Tensor, " *n"], stream: int) -> Int[Tensor, " *n"]:
    """Return one 32-bit key per place; those of two streams are independent.

    Source: the finaliser of MurmurHash3 by Appleby, with constants of Wellons' "lowbias32".
    """
    # A number of 32 bits is held in 64, as torch has no unsigned integers to multiply.
    x = (indices + 0x9E3779B9 * (stream + 1)) & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return _signed(x ^ (x >> 16))


def drawn(
    rows: Int[Tensor, " r"], columns: Int[Tensor, " c"], levels: Float[Tensor, " levels"]
) -> Float[Tensor, "r c"]:
    """Return a value for each pair of keys, each of the levels equally likely.

    Args:
        rows, columns: keys of two streams.
        levels: of `quantiles`.
    """
    # One round: keys are scattered already. Products of 32 bits wrap.
    x = rows[:, None] ^ columns[None]
    x ^= x >> 16
    x *= 0x7FEB352D
    x ^= x >> 15
    x *= -0x7B935975
    x >>= 32 - _BITS
    x &= LEVELS - 1
    return levels.index_select(0, x.flatten()).view_as(x)


def uniform(indices: Int[Tensor, " n"], count: int, stream: int) -> Float64[Tensor, "n count"]:
    """Return some numbers uniform on [0, 1) for each place."""
    numbers = indices[:, None] * count + torch.arange(count, device=indices.device)
    return (keys(numbers, stream).double() + 2.0**31) * 2.0**-32


def _signed(x: Int[Tensor, " *n"]) -> Int[Tensor, " *n"]:
    return torch.where(x >= 2**31, x - 2**32, x).int()
