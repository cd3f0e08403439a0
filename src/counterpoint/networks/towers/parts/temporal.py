"""Layers of towers that read sequences: convolutions over time that see nothing behind the end of one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


def before(lengths: Int[Tensor, " B"], times: int) -> Bool[Tensor, "B times"]:
    """Return which times of sequences of some lengths are theirs.

    >>> before(torch.tensor([1, 3]), 3).tolist()
    [[True, False, False], [True, True, True]]
    """
    return torch.arange(times, device=lengths.device) < lengths[:, None]


def mean_inside(states: Float[Tensor, "B C T"], inside: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
    """Return the mean of a sequence's own states; zero for one without any."""
    mask = inside[:, None].to(states.dtype)
    return (states * mask).sum(2) / mask.sum(2).clamp_min(1)


def positions_of_times(count: int, width: int) -> Float[Tensor, "count width"]:
    """Return fixed positions of times: sines and cosines of falling frequencies.

    >>> positions_of_times(2, 3).tolist()[0]
    [0.0, 0.0, 1.0]
    """
    half = (width + 1) // 2
    frequencies = 10_000 ** -(torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :width].float()


class TimeNorm(nn.LayerNorm):
    """Layer normalisation over the channels at each time."""

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        return super().forward(x.mT).mT.contiguous()


class TimeConvolution(nn.Conv1d):
    """A convolution over time that starts from N(0, 2/fan-in)."""

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class TimeResidual(nn.Module):
    """x ← x + conv(gelu(norm(conv(gelu(norm(x)))))), both convolutions over three times that lie apart.

    Behind the end of a sequence a convolution finds zeros, as it does behind the end of a batch: features do not depend
    on the length of the sequences beside it.

    Args:
        channels: of states.
        dilation: how far apart the three times lie.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = TimeNorm(channels), TimeNorm(channels)
        self.conv_1, self.conv_2 = (
            TimeConvolution(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
            for _ in range(2)
        )

    def forward(self, x: Float[Tensor, "B C T"], inside: Bool[Tensor, "B T"]) -> Float[Tensor, "B C T"]:
        mask = inside[:, None].to(x.dtype)
        h = self.conv_1(F.gelu(self.norm_1(x)) * mask)
        branch: Tensor = self.conv_2(F.gelu(self.norm_2(h)) * mask)
        return x + branch
