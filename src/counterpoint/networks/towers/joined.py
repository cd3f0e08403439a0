"""Several towers of pictures as one, whose patches stay apart: ``vit@RUN+cnn@RUN``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..base import ImageTower

PAPERS = {"visual-experts-ive": ("JoinedTower",)}


@final
class JoinedTower(ImageTower):
    """Towers of pictures side by side, each with channels of its own.

    A feature is that of each tower behind that of the one before. Patches are those of each tower behind those of the
    one before, in one column; a patch has zeros in the channels of the other towers. A linear layer on them is thus a
    linear layer for each tower, and a bridge reads the patches of all towers.

    Pictures have the size of the largest tower, and are made in its way. They are resized for towers of another size.
    Each tower normalises them by itself.

    >>> from .convnet import ConvNet
    >>> tower = JoinedTower([ConvNet(32), ConvNet(16)])
    >>> tower(torch.zeros(1, 3, 32, 32)).shape, tower.patches(torch.zeros(1, 3, 32, 32)).shape
    (torch.Size([1, 256]), torch.Size([1, 256, 5, 1]))

    Args:
        towers: two or more, all of them pretrained or none.

    Raises:
        ValueError: for towers of which some are pretrained.

    Source: He et al., "Incorporating Visual Experts to Resolve the Information Loss in Multimodal Large Language
    Models" (2024), arXiv 2401.03105; described from memory. There each encoder has a resampler of its own, and no
    query reads two encoders.
    """

    def __init__(self, towers: Sequence[ImageTower]) -> None:
        super().__init__()
        if len({tower.pretrained for tower in towers}) > 1:
            names = " and ".join(tower.name for tower in towers if not tower.pretrained)
            raise ValueError(
                f"towers of pictures are joined that are all pretrained, or none: give {names} weights (NAME@RUN)"
            )
        self.towers = nn.ModuleList(towers)
        largest = max(towers, key=lambda tower: tower.size)
        self.size, self.fit = largest.size, largest.fit
        self.widths = [tower.width for tower in towers]
        self.width = sum(self.widths)
        self.weights_set = all(tower.weights_set and tower.pretrained for tower in towers)
        if not self.weights_set:
            for tower in towers:  # drawn again, by the place of each
                tower.weights_set = False

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return torch.cat([tower(_resized(images, tower.size)) for tower in self.experts], 1)

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width n 1"]:
        maps = [tower.patches(_resized(images, tower.size)).flatten(2) for tower in self.experts]
        apart, before = [], 0
        for of_tower, width in zip(maps, self.widths, strict=True):
            apart.append(F.pad(of_tower, (0, 0, before, self.width - before - width)))
            before += width
        return torch.cat(apart, 2)[..., None]

    @property
    def experts(self) -> list[ImageTower]:
        """The towers."""
        return [tower for tower in self.towers if isinstance(tower, ImageTower)]


def _resized(images: Float[Tensor, "B 3 H W"], size: int) -> Float[Tensor, "B 3 h w"]:
    if images.shape[2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True)
