"""A picture read by its regions, which see each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...base import ImageTower
from ...heads import Linear
from ..transformer import TransformerBlock
from .pixels import Square

PAPERS = {"brivl": ("RegionTower",)}


@final
class RegionTower(ImageTower):
    """The features of regions of a tower's map of places, through a transformer, as their mean.

        region r:  4 × 4 points of it sampled bilinearly, a linear layer, their average, unit norm
        feature:   mean_r transformer(regions)_r

    Regions are the cells of grids over the picture, of one cell, of 2 × 2 and of 3 × 3, which stand in for the boxes
    of a detector. As they are the same in all pictures, sampling and averaging are one matrix from places to regions.

    Args:
        tower: gives the map of places; trained, frozen or pretrained, as it is.
        scales: the cells a side of each grid.
        depth, heads: of the transformer.

    Raises:
        LookupError: for a tower without features of places.

    Source: the image encoder of Huo et al., "WenLan: Bridging Vision and Language by Large-Scale Multi-Modal
    Pre-Training" (2021), arXiv 2103.06561.

    >>> from counterpoint.networks import ConvNet
    >>> tower = RegionTower(ConvNet(size=32))
    >>> tower.shares.shape, tower(torch.zeros(1, 3, 32, 32)).shape
    (torch.Size([14, 4]), torch.Size([1, 128]))
    """

    shares: Tensor

    def __init__(
        self, tower: ImageTower, scales: Sequence[int] = (1, 2, 3), depth: int = 4, heads: int = 4
    ) -> None:
        super().__init__()
        self.tower, self.width, self.size = tower, tower.width, tower.size
        rows, columns = grid(tower)
        self.register_buffer("shares", shares(rows, columns, scales), persistent=False)
        self.linear = Linear(self.width, self.width)
        self.blocks = nn.ModuleList(
            TransformerBlock(self.width, heads, depth, causal=False) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(self.width)

    @property
    def input(self) -> Square:
        return self.tower.input

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        places = self.tower.patches(images).flatten(2).mT
        x = F.normalize(self.linear(self.shares @ places), dim=-1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x).mean(1)


@torch.no_grad()
def grid(tower: ImageTower) -> tuple[int, int]:
    """Return rows and columns of a tower's map of places.

    Raises:
        LookupError: for a tower without one.
    """
    modes = [(module, module.training) for module in tower.modules()]
    like = next(tower.parameters())
    maps = tower.eval().patches(torch.zeros(1, 3, tower.size, tower.size).to(like))
    for module, training in modes:
        module.training = training
    return maps.shape[2], maps.shape[3]


def shares(rows: int, columns: int, scales: Sequence[int]) -> Float[Tensor, "regions places"]:
    """Compute the share of each place in each region, by 4 × 4 bilinear samples; every region's shares add up to 1.

    >>> shares(2, 2, [1]).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    places = torch.eye(rows * columns).view(1, rows * columns, rows, columns)
    boxes = [
        [0, columns * x / s, rows * y / s, columns * (x + 1) / s, rows * (y + 1) / s]
        for s in scales
        for y in range(s)
        for x in range(s)
    ]
    from torchvision.ops import roi_align  # here, as it imports torch._dynamo: over a second

    sampled: Tensor = roi_align(places, torch.tensor(boxes), output_size=1, sampling_ratio=4, aligned=True)
    return sampled.flatten(1)
