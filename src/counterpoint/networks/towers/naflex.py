"""A vision transformer of pictures of any aspect ratio, which keeps their patches within a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from .transformer import ProbedTransformer

PAPERS = {"siglip-2": ("NaFlexTransformer",)}
_SCALES, _PRECISION = (1e-6, 100.0), 1e-5
"""The range of scales that are searched, and where the search stops."""


class NaFlexTransformer(ProbedTransformer):
    """A `ProbedTransformer` that takes pictures in their own aspect ratio, with as many patches as a square one has.

    `native` resizes pictures of any sizes and puts them into one batch, with pixels of NaN on the right and below.
    Patches with such pixels are padding, which neither the blocks nor the query that pools attend to. The grid of
    learned positions is resized bilinearly to the patches of each picture. Training and tasks show squares, and
    ``model.embed_prepared("image", model.image_tower.native(pictures))`` embeds pictures as they are.

    It has the same arguments.

    Source: Tschannen et al., "SigLIP 2: Multilingual Vision-Language Encoders with Improved Semantic Understanding,
    Localization, and Dense Features" (2025), arXiv 2502.14786; sizes as in transformers.
    """

    kept_in_timm: ClassVar[str] = ""
    takes_prompts = False

    @property
    def budget(self) -> int:
        """The most patches of a picture."""
        return (self.size // self.patch) ** 2

    def native(self, pictures: Sequence[UInt8[Tensor, "3 _ _"]]) -> Float[Tensor, "B 3 H W"]:
        """Return pictures of any sizes as one batch, resized to whole patches within the budget and padded with NaN.

        The aspect ratio changes by less than a patch.

        Raises:
            ValueError: for no picture.
        """
        from torchvision.transforms.v2 import functional as V  # takes a second

        if not len(pictures):
            raise ValueError("there are no pictures to embed")
        sizes = [
            size_within(picture.shape[1], picture.shape[2], self.patch, self.budget) for picture in pictures
        ]
        height, width = (max(lengths) for lengths in zip(*sizes, strict=True))
        batch = torch.full((len(pictures), 3, height, width), torch.nan)
        for padded, picture, (rows, columns) in zip(batch, pictures, sizes, strict=True):
            resized = V.resize(picture, [rows, columns], antialias=True)
            padded[:, :rows, :columns] = V.to_dtype(resized, torch.float32, scale=True)
        return batch

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        shown = self.patches_shown(images)
        states = self._blocks(images.nan_to_num(), shown)
        return self.pooled(states, shown.flatten(1))

    def patches_shown(self, images: Float[Tensor, "B 3 H W"]) -> Bool[Tensor, "B rows columns"]:
        """Return which patches of a batch are no padding."""
        padding = images.isnan().any(1, keepdim=True).to(torch.float32)
        return F.max_pool2d(padding, self.patch)[:, 0] == 0

    def _states(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B n width"]:
        return self._blocks(images.nan_to_num(), self.patches_shown(images))

    def _blocks(
        self, images: Float[Tensor, "B 3 H W"], shown: Bool[Tensor, "B rows columns"]
    ) -> Float[Tensor, "B n width"]:
        pixels, _ = self.pixels_and_positions(images)
        x, mask = self.patch_embedding(pixels) + self._positions_of(shown), shown.flatten(1)
        for block in self.blocks:
            x = block(x, mask=mask)
        return self.norm(x)

    def _positions_of(self, shown: Bool[Tensor, "B rows columns"]) -> Float[Tensor, "B n width"]:
        """Return the positions of each picture's own patches, zero for padding."""
        side, (rows, columns) = self.size // self.patch, shown.shape[1:]
        learned = self.position_embedding.weight.view(1, side, side, -1).permute(0, 3, 1, 2)
        sizes = torch.stack([shown[:, :, 0].sum(1), shown[:, 0].sum(1)], 1)
        different, number = torch.unique(sizes, dim=0, return_inverse=True)
        tables = []
        for height, width in different.tolist():
            resized = F.interpolate(learned, (height, width), mode="bilinear", antialias=True)[0]
            tables.append(F.pad(resized, (0, columns - width, 0, rows - height)))
        if not tables:
            return (0 * learned.sum()).expand(0, rows * columns, self.width)  # with a gradient of zero
        return torch.stack(tables)[number].flatten(2).mT


def size_within(height: int, width: int, patch: int, patches: int) -> tuple[int, int]:
    """Return the largest size of about the same aspect ratio, in whole patches, with so many patches at most.

    The scale of the picture is found by bisection; both sides are rounded up to whole patches, of which each has one at
    least.

    Args:
        height, width: of the picture in pixels.
        patch: pixels of a patch's side.
        patches: at most.

    >>> size_within(480, 640, patch=16, patches=256)
    (224, 288)
    """
    low, high = _SCALES

    def scaled(scale: float) -> tuple[int, int]:
        rows, columns = (max(math.ceil(length * scale / patch), 1) for length in (height, width))
        return rows * patch, columns * patch

    while high - low >= _PRECISION:
        scale = (low + high) / 2
        rows, columns = scaled(scale)
        if (rows // patch) * (columns // patch) <= patches:
            low = scale
        else:
            high = scale
    return scaled(low)
