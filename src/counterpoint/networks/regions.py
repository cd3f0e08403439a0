"""Regions of maps of patches: pooling over boxes and masks, and the feature pyramid that detectors read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .base import ImageTower
from .heads import Linear
from .towers.convnet import ChannelNorm, Convolution
from .towers.parts.regions import grid


def check_boxes(boxes: Float[Tensor, "n k 4"], count: int) -> Float[Tensor, "n k 4"]:
    """Check boxes of pictures: left, top, right and bottom in shares of the sides; NaN where there is no box.

    Args:
        boxes: as many for each picture.
        count: of pictures.

    Raises:
        ValueError: for another shape, and boxes that are empty, flipped or outside the picture.

    >>> check_boxes(torch.tensor([[[0.5, 0.0, 0.5, 1.0]]]), 1)
    Traceback (most recent call last):
    ...
    ValueError: box [0.5, 0.0, 0.5, 1.0] of picture 0 is empty or flipped: left < right and top < bottom must hold
    """
    if boxes.ndim != 3 or boxes.shape[0] != count or boxes.shape[2] != 4 or not boxes.is_floating_point():
        raise ValueError(
            f"boxes of {count} pictures must be floating-point numbers ({count}, k, 4), got {tuple(boxes.shape)} "
            f"{boxes.dtype}"
        )
    given = ~boxes.isnan().all(-1)
    outside = given & ~((boxes >= 0) & (boxes <= 1)).all(-1)
    empty = given & ~(boxes[..., 2:] > boxes[..., :2]).all(-1)
    for bad, reason in (
        (outside, "is not in the picture: sides are shares from 0 to 1"),
        (empty, "is empty or flipped: left < right and top < bottom must hold"),
    ):
        if bad.any():
            picture, box = bad.nonzero()[0].tolist()
            sides = [round(side, 4) for side in boxes[picture, box].tolist()]
            raise ValueError(f"box {sides} of picture {picture} {reason}")
    return boxes


def in_central_square(boxes: Float[Tensor, "n k 4"], height: int, width: int) -> Float[Tensor, "n k 4"]:
    """Return boxes of pictures as boxes of the pictures' central squares; NaN for a box that lies outside.

    >>> in_central_square(torch.tensor([[[0.0, 0.0, 0.5, 1.0]]]), 10, 20).tolist()
    [[[0.0, 0.0, 0.5, 1.0]]]
    """
    lengths, side = boxes.new_tensor([width, height, width, height]), min(height, width)
    inside = ((boxes * lengths - (lengths - side) / 2) / side).clamp(0, 1)
    shown = (inside[..., 2:] > inside[..., :2]).all(-1, keepdim=True)
    return torch.where(shown, inside, torch.nan)


def pool_boxes(maps: Float[Tensor, "n d h w"], boxes: Float[Tensor, "n k 4"]) -> Float[Tensor, "n k d"]:
    """Return the mean of maps over boxes: `align_boxes` to one cell, with a sample for each cell of the maps.

    The box of the whole picture gives the mean of all cells. A box of NaN gives NaN.

    Args:
        maps: of patches.
        boxes: left, top, right and bottom in shares of the sides.
    """
    pooled = align_boxes(maps, boxes, cells=1, samples=0).flatten(2)
    return pooled.masked_fill(boxes.isnan().any(2, keepdim=True), torch.nan)


def align_boxes(
    maps: Float[Tensor, "n d h w"], boxes: Float[Tensor, "n k 4"], cells: int, samples: int
) -> Float[Tensor, "n k d cells cells"]:
    """Return maps resampled over boxes, by torchvision's ``roi_align``; of an empty box for a box of NaN.

    Args:
        maps: of patches.
        boxes: left, top, right and bottom in shares of the sides.
        cells: rows and columns of the result.
        samples: rows and columns of the samples whose mean a cell is; 0 for about one for each cell of the maps.
    """
    from torchvision.ops import roi_align  # here, as it imports torch._dynamo: over a second

    height, width = maps.shape[2:]
    corners = boxes.to(maps).flatten(0, 1) * maps.new_tensor([width, height, width, height])
    picture = torch.arange(len(maps), device=maps.device).repeat_interleave(boxes.shape[1])
    rois = torch.cat([picture[:, None].to(maps), corners.nan_to_num()], 1)
    aligned: Tensor = roi_align(maps, rois, output_size=cells, sampling_ratio=samples, aligned=True)
    return aligned.view(len(maps), boxes.shape[1], *aligned.shape[1:])


def pool_masks(maps: Float[Tensor, "n d h w"], masks: Bool[Tensor, "n k H W"]) -> Float[Tensor, "n k d"]:
    """Return the mean of maps over masks; a cell's weight is the share of it that a mask covers.

    A mask without a pixel gives NaN.

    Args:
        maps: of patches.
        masks: of the pictures' pixels.
    """
    covered = F.adaptive_avg_pool2d(masks.to(maps.dtype), (maps.shape[2], maps.shape[3])).flatten(2)
    return (covered / covered.sum(2, keepdim=True)) @ maps.flatten(2).mT


@final
class Pyramid(nn.Module):
    """A tower with the simple feature pyramid of ViTDet: maps of several scales, all made of the map of patches.

    A scale is reached by transposed convolutions (4 and 2), by nothing (1) or by max pooling (½). A 1 × 1 and a 3 × 3
    convolution follow, each with a norm over channels.

    Args:
        tower: gives the map of patches; it is trained with the rest.
        channels: of the maps.
        scales: of the maps, from fine to coarse, as multiples of the tower's map.

    Attributes:
        out_channels: the channels of all maps, as torchvision's detectors ask for them.

    Raises:
        LookupError: for a tower without features of patches.
        ValueError: for another scale.

    Source: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection" (2022), arXiv 2203.16527.
    """

    def __init__(self, tower: ImageTower, channels: int, scales: Sequence[float]) -> None:
        super().__init__()
        self.tower, self.out_channels = tower, channels
        self.levels = pyramid_levels(tower, channels, scales)

    def forward(self, images: Float[Tensor, "n 3 H W"]) -> OrderedDict[str, Tensor]:
        """Return a map of each scale, by its number, of pictures in [0, 1]."""
        maps = self.tower.patches(images)
        return OrderedDict((str(number), level(maps)) for number, level in enumerate(self.levels))


def pyramid(tower: ImageTower, channels: int = 256, scales: Sequence[float] = (4, 2, 1, 0.5)) -> Pyramid:
    """Return a tower as a backbone of torchvision's detectors; see `Pyramid`.

    The tower takes pictures in [0, 1] and normalises them. So a detector must not: ``image_mean=[0, 0, 0]`` and
    ``image_std=[1, 1, 1]``. Its ``size_divisible`` must be a multiple of the tower's patch.

    >>> from counterpoint.networks import VisionTransformer
    >>> maps = pyramid(VisionTransformer(size=48, patch=8), channels=16)(torch.zeros(1, 3, 48, 48))
    >>> {name: tuple(level.shape) for name, level in maps.items()}
    {'0': (1, 16, 24, 24), '1': (1, 16, 12, 12), '2': (1, 16, 6, 6), '3': (1, 16, 3, 3)}
    """
    return Pyramid(tower, channels, scales)


def pyramid_levels(
    tower: ImageTower, channels: int, scales: Sequence[float] = (4, 2, 1, 0.5)
) -> nn.ModuleList:
    """Return the layers from a tower's map of patches to the maps of a `Pyramid`, without the tower.

    Raises:
        LookupError: for a tower without features of patches.
        ValueError: for another scale than 4, 2, 1 and ½.
    """
    grid(tower)  # so that a tower without patches is refused at once
    return nn.ModuleList(_level(tower.width, channels, scale) for scale in scales)


class RegionHead(nn.Module):
    """The head of a detector: boxes of a map to vectors, by one convolution and two linear layers.

    Boxes are resampled to 7 × 7 cells with 2 × 2 samples each.

    >>> head = RegionHead(4, 8)
    >>> head(torch.zeros(2, 4, 6, 6), torch.tensor([[[0.0, 0.0, 1.0, 1.0]]] * 2)).shape
    torch.Size([2, 1, 8])

    Args:
        channels: of the map.
        out: the width of a vector.
    """

    cells, samples = 7, 2

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Convolution(channels, channels, 3, padding=1, bias=False),
            ChannelNorm(channels),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(channels * self.cells**2, 4 * channels),
            nn.GELU(),
            Linear(4 * channels, out),
        )

    def forward(
        self, maps: Float[Tensor, "n d h w"], boxes: Float[Tensor, "n k 4"]
    ) -> Float[Tensor, "n k out"]:
        """Return a vector of each box."""
        aligned = align_boxes(maps, boxes, self.cells, self.samples)
        return self.layers(aligned.flatten(0, 1)).unflatten(0, aligned.shape[:2])


def _level(width: int, channels: int, scale: float) -> nn.Module:
    steps: dict[float, list[nn.Module]] = {
        4: [
            nn.ConvTranspose2d(width, width // 2, 2, stride=2),
            ChannelNorm(width // 2),
            nn.GELU(),
            nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2),
        ],
        2: [nn.ConvTranspose2d(width, width // 2, 2, stride=2)],
        1: [],
        0.5: [nn.MaxPool2d(2, ceil_mode=True)],
    }
    if scale not in steps:
        raise ValueError(f"scale {scale:g} of a pyramid: there are {', '.join(f'{s:g}' for s in steps)}")
    given = width // int(scale) if scale > 1 else width
    return nn.Sequential(
        *steps[scale],
        nn.Conv2d(given, channels, 1, bias=False),
        ChannelNorm(channels),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        ChannelNorm(channels),
    )
