"""A decoder from a code to a picture: convolutions at doubled sides."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .heads import Linear

_START = 4
"""Rows and columns of the first map."""


class PictureDecoder(nn.Module):
    """A linear layer to a map of 4 × 4, then bilinear enlargement and convolution until the picture's side is reached.

    >>> import torch
    >>> PictureDecoder(32, 48)(torch.zeros(2, 32)).shape
    torch.Size([2, 3, 48, 48])

    Args:
        code: the width of the code.
        size: height and width of the picture, in pixels.
        channels: of the maps.
    """

    def __init__(self, code: int, size: int, channels: int = 32) -> None:
        super().__init__()
        sides = [_START]
        while sides[-1] < size:
            sides.append(min(2 * sides[-1], size))
        self.sides, self.channels = tuple(sides), channels
        self.start = Linear(code, channels * _START**2, bias=True)
        self.layers = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in sides[1:])
        self.colours = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, code: Float[Tensor, "B code"]) -> Float[Tensor, "B 3 H W"]:
        """Return pictures with values in [0, 1]."""
        x = self.start(code).view(-1, self.channels, _START, _START)
        for side, layer in zip(self.sides[1:], self.layers, strict=True):
            x = F.interpolate(F.relu(x), (side, side), mode="bilinear")
            x = layer(x)
        return self.colours(F.relu(x)).sigmoid()
