"""A decoder from a map of patches to a picture: nearest enlargement and convolutions."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

PAPERS = {"prior": ("MapDecoder",)}
_LEAST = 8
"""Channels that no layer has fewer of."""


class MapDecoder(nn.Module):
    """Doubles the sides of a map until they are those of a picture, with two convolutions and half the channels each.

    Groups of channels are normalised, so that a picture does not depend on the others of its batch.

    >>> import torch
    >>> MapDecoder(32, (4, 4), 16)(torch.zeros(2, 32, 4, 4)).shape
    torch.Size([2, 3, 16, 16])

    Args:
        channels: of the map.
        grid: rows and columns of the map.
        size: height and width of the picture in pixels.
    """

    def __init__(self, channels: int, grid: tuple[int, int], size: int) -> None:
        super().__init__()
        self.size, layers = size, []
        rows, columns = grid
        while min(rows, columns) < size:
            rows, columns = min(2 * rows, size), min(2 * columns, size)
            half = max(channels // 2, _LEAST)
            layers.append(nn.Sequential(*_convolution(channels, half), *_convolution(half, half)))
            channels = half
        self.layers = nn.ModuleList(layers)
        self.colours = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """Return pictures, whose values are not bounded."""
        for layer in self.layers:
            x = layer(F.interpolate(x, [min(2 * side, self.size) for side in x.shape[2:]]))
        return self.colours(x)


def _convolution(channels: int, out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.GroupNorm(1, out), nn.ReLU()
