"""From the frames of a video to one picture, for towers that know pictures only."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor

from ...networks.towers.footage import centres


def sheet(videos: UInt8[Tensor, "k T 3 H W"], side: int = 3) -> UInt8[Tensor, "k 3 height width"]:
    """Return contact sheets: ``side × side`` frames, sampled uniformly, in lines from the upper left.

    >>> sheet(torch.zeros(2, 12, 3, 8, 8, dtype=torch.uint8)).shape
    torch.Size([2, 3, 24, 24])
    """
    k, total, channels, height, width = videos.shape
    chosen = videos[:, torch.from_numpy(centres(total, side * side))]
    tiles = chosen.view(k, side, side, channels, height, width).permute(0, 3, 1, 4, 2, 5)
    return tiles.reshape(k, channels, side * height, side * width)


def middle(videos: UInt8[Tensor, "k T 3 H W"]) -> UInt8[Tensor, "k 3 H W"]:
    """Return the frame in the middle of each video, in which order cannot be seen."""
    return videos[:, int(centres(videos.shape[1], 1)[0])]
