"""REBAR's network: a series with a part missing is reconstructed by what another one shows in the like places."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .towers.parts.temporal import TimeConvolution

_EPS = 1e-5


class RetrievalReconstruction(nn.Module):
    """A series reconstructed from another one by cross-attention.

        x̂ = RevIN⁻¹( A · f_v(k) ),   A = softmax_t( f_q(x, M) f_k(k)ᵀ / √width )

    The query x is read through its mask M alone; the key k wholly. Both are normalised by the query's mean and
    deviation of each channel over all its steps, masked ones included, with a learnt scale and shift; the
    reconstruction is brought back by them. Each f is a partial convolution and ``blocks`` residual ones over ever more
    distant times; each is followed by a GELU and an instance norm.

    The partial convolution divides by the share of the visible times among those of its window that lie within the
    series. The release divides by their share of the whole window, so that times beyond the ends count as masked. The
    two differ within half a window of the ends.

    A value that was never measured (NaN) is masked in both, and no query attends to it.

    Args:
        channels: of the series.
        width: of states.
        blocks: residual ones; the times of block i lie 2^i steps apart.
        kernel: times of a convolution; an odd number.
        dropout: of attention, in training.

    Source: Xu et al., "REBAR: Retrieval-Based Reconstruction for Time-series Contrastive Learning" (2023), arXiv
    2311.00519, whose widths are 256 and 32.

    >>> net = RetrievalReconstruction(channels=2)
    >>> net(torch.rand(3, 20, 2), torch.ones(3, 20, dtype=torch.bool), torch.rand(3, 30, 2)).shape
    torch.Size([3, 20, 2])
    """

    def __init__(
        self, channels: int, width: int = 64, blocks: int = 2, kernel: int = 15, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.query, self.key, self.value = (_Reading(channels, width, blocks, kernel) for _ in range(3))
        self.out = nn.Linear(width, channels)
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.width, self.dropout = width, dropout

    def forward(
        self, query: Float[Tensor, "n T C"], visible: Bool[Tensor, "n T"], key: Float[Tensor, "n S C"]
    ) -> Float[Tensor, "n T C"]:
        """Return the query, all its steps reconstructed; it is looked at where it is visible alone."""
        known = ~query.isnan()
        count = known.sum(1, keepdim=True).clamp_min(1)
        mean = query.nan_to_num(0.0).sum(1, keepdim=True) / count
        squares = ((query - mean).nan_to_num(0.0)).square().sum(1, keepdim=True) / count
        deviation = (squares + _EPS).sqrt()
        query, key = ((x - mean) / deviation * self.scale + self.shift for x in (query, key))
        there = (~key.isnan()).any(-1)
        q = self.query(query, visible & known.any(-1), known.any(-1))
        k, v = (read(key, there, there) for read in (self.key, self.value))
        scores = q.mT @ k / self.width**0.5
        # Of a key without any step there is nothing to attend to, and nothing to be said.
        scores = scores.masked_fill(~(there | ~there.any(1, keepdim=True))[:, None], -torch.inf)
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        made = self.out(weights @ v.mT)
        return (made - self.shift) / self.scale * deviation + mean


class _Reading(nn.Module):
    """Convolutions of a series that is partly visible."""

    def __init__(self, channels: int, width: int, blocks: int, kernel: int) -> None:
        super().__init__()
        self.first = TimeConvolution(channels, width, kernel, padding=kernel // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))
        # The first of two without a bias, so that there is nothing behind the end of a series.
        self.blocks = nn.ModuleList(
            nn.Sequential(
                TimeConvolution(width, max(width // 8, 1), 1, bias=False),
                TimeConvolution(
                    max(width // 8, 1), width, kernel, padding=kernel // 2 * 2**number, dilation=2**number
                ),
            )
            for number in range(blocks)
        )

    def forward(
        self, series: Float[Tensor, "n T C"], visible: Bool[Tensor, "n T"], inside: Bool[Tensor, "n T"]
    ) -> Float[Tensor, "n width T"]:
        """Return the states of steps; zero at those that are not inside."""
        mask, seen = inside[:, None].to(series.dtype), visible[:, None].to(series.dtype)
        size = self.first.kernel_size[0]
        # Without the share of what is visible, what is missing would be told as zeros.
        window = F.conv1d(seen, seen.new_ones(1, 1, size), padding=size // 2)
        all_of_it = F.conv1d(mask, seen.new_ones(1, 1, size), padding=size // 2)
        x = self.first((series.nan_to_num(0.0).mT) * seen)
        x = torch.where(
            window > 0, x * (all_of_it / window.clamp_min(1)) + self.bias[:, None], torch.zeros_like(x)
        )
        x = _normed(F.gelu(x), mask)
        for block in self.blocks:
            x = _normed(F.gelu(x + block(x)), mask)
        return x


def _normed(x: Float[Tensor, "n C T"], mask: Float[Tensor, "n 1 T"]) -> Float[Tensor, "n C T"]:
    """Return states of mean 0 and deviation 1 over a series' own steps, and 0 at others."""
    count = mask.sum(2, keepdim=True).clamp_min(1)
    centred = (x - (x * mask).sum(2, keepdim=True) / count) * mask
    deviation: Tensor = (centred.square().sum(2, keepdim=True) / count + _EPS).sqrt()
    return centred / deviation
