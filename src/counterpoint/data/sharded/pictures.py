"""Data over an index whose records have a picture each, alone or with captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ...types import Fit
from ..base import Rows
from ..listed.photos import StoredPictures
from ..pictured import PairedData, PictureData
from ..pictures.decode import shown
from .data import ShardedData
from .index import ShardIndex


class ShardedPictures(ShardedData, PictureData):
    """Rows with a picture each that lie in shards.

    Args:
        index: of the shards.
        held: the held-out rows.
    """

    held: StoredPictures

    def __init__(self, index: ShardIndex, held: StoredPictures) -> None:
        super().__init__(index, held)
        self.most_pixels = index.options.max_pixels

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        return self.read("image", rows)

    def encoded(self, row: int) -> bytes:
        if row >= self._trained:
            return self.held.encoded(row - self._trained)
        return self.bytes_of("image", row)

    def shown(self, row: int, side: int) -> Image.Image:
        if row >= self._trained:
            return self.held.shown(row - self._trained, side)
        return shown(self.bytes_of("image", row), side, self.most_pixels)

    def fitted(self, fit: Fit) -> Self:
        return self._formed(self.held.fitted(fit))


class ShardedPairs(ShardedPictures, PairedData):
    """Pictures with captions that lie in shards."""

    def captions(self, row: int) -> Sequence[str]:
        return self.evaluation_texts("text", row)

    def evaluation_captions(self, row: int) -> Sequence[str]:
        return self.captions(row)

    def describe(self) -> dict[str, dict[str, Any]]:
        return ShardedData.describe(self)
