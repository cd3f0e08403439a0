"""A vision transformer with attention within windows, and with a second pass whose windows lie half a window aside."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from ..base import ImageTower, PictureStates
from .transformer import VisionTransformer

PAPERS = {"dito": ("WindowedTransformer",)}


class WindowedTransformer(VisionTransformer):
    """A `VisionTransformer` whose blocks attend within windows, every third one and the last one everywhere.

    A grid has four windows a side, whatever its size; fewer where four do not divide the side. With ``shifted`` the
    blocks run twice:

        states = norm((g(c) + R⁻¹ g(R c)) / 2),   g(c) = blocks(c + positions)

    c is the content of the patches, and R rolls it by half a window, up and to the right; what leaves the grid at one
    border comes in at the other. Positions stay with the grid. The same weights serve both passes, so that a tower
    trained with one pass can be used with two.

    It has the same arguments. Patches cannot be left out.

    Attributes:
        shifted: whether there is the second pass; a method sets it.

    Source: Kim et al., "Region-centric Image-Language Pretraining for Open-Vocabulary Detection" (2023), arXiv
    2310.00161.
    """

    kept_in_timm = ""
    takes_prompts = False
    takes_masks = False
    windows: ClassVar[int] = 4
    shifted: bool = False

    def _states(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B n width"]:
        rows, columns = (length // self.patch for length in images.shape[2:])
        pixels, positions = self.pixels_and_positions(images)
        content = self.patch_embedding(pixels).view(len(images), rows, columns, self.width)
        positions = positions.view(rows, columns, -1)
        x = self._windowed(content + positions)
        if self.shifted:
            by = (-(rows // self._count(rows) // 2), columns // self._count(columns) // 2)
            rolled = self._windowed(content.roll(by, (1, 2)) + positions)
            x = (x + rolled.roll((-by[0], -by[1]), (1, 2))) / 2
        return self.norm(x).flatten(1, 2)

    def _windowed(self, x: Float[Tensor, "B rows columns width"]) -> Float[Tensor, "B rows columns width"]:
        rows, columns = x.shape[1:3]
        down, across = self._count(rows), self._count(columns)
        for number, block in enumerate(self.blocks, start=1):
            everywhere = number % 3 == 0 or number == len(self.blocks)
            i, j = (1, 1) if everywhere else (down, across)
            parts = x.reshape(len(x), i, rows // i, j, columns // j, self.width).transpose(2, 3)
            tokens = parts.flatten(3, 4).flatten(0, 2)
            tokens = block(tokens, mask=self._seen(tokens))
            x = tokens.view(parts.shape).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return x

    def _count(self, length: int) -> int:
        """Return the number of windows on a side of the grid."""
        return next(count for count in range(self.windows, 0, -1) if length % count == 0)

    def encode_visible(
        self,
        images: Float[Tensor, "B 3 H W"],
        index: Int[Tensor, "B k"],
        mask_token: Float[Tensor, " width"] | None = None,
    ) -> PictureStates:
        return ImageTower.encode_visible(self, images, index, mask_token)

    def prompted(
        self, inputs: Float[Tensor, "B 3 H W"], prompts: Float[Tensor, "P width"]
    ) -> tuple[Float[Tensor, "B width"], Float[Tensor, "B P width"]]:
        return ImageTower.prompted(self, inputs, prompts)
