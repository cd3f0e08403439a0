"""The way from a picture to the square that a tower takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, final


@final
@dataclass(frozen=True)
class Fit:
    """The way from a picture to the square that a tower takes: resized, then cut, or padded, to its middle.

    >>> Fit(224, 256).resized(300, 400), Fit(224, 224, "longest").resized(300, 400)
    ((256, 341), (168, 224))

    Attributes:
        size: side of the square in pixels.
        side: what the picture is resized to, before the middle ``size`` pixels are taken.
        resize: which sides of the picture become ``side``: the ``"shortest"``, the ``"longest"`` (a border fills the
            square), or both, ``"squash"``.
        interpolation: a filter of Pillow's.
        fill: colour of the border.
        resizer: Pillow, or torchvision on tensors of bytes, whose pixels differ by a step here and there.
        half: where the middle begins if an odd number of pixels is cut off: at the even one of two numbers, as
            torchvision and timm do, or at the lower one, as transformers does.
    """

    size: int
    side: int
    resize: Literal["shortest", "longest", "squash"] = "shortest"
    interpolation: Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"] = "bicubic"
    fill: tuple[int, int, int] = (0, 0, 0)
    resizer: Literal["pillow", "torchvision"] = "pillow"
    half: Literal["even", "lower"] = "even"

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and the width of a picture that is resized; rounded as torchvision and timm do."""
        if self.resize == "squash":
            return self.side, self.side
        if self.resize == "longest":
            ratio = max(height, width) / self.side
            return max(round(height / ratio), 1), max(round(width / ratio), 1)
        long = int(self.side * max(height, width) / min(height, width))
        return (self.side, long) if height <= width else (long, self.side)

    def start(self, length: int) -> int:
        """Return where the square begins on a resized line of so many pixels; below 0 where a border comes first."""
        spare = length - self.size
        if spare < 0:
            return -(-spare // 2)
        return round(spare / 2) if self.half == "even" else spare // 2

    def uncut(self, side: int) -> Fit:
        """Return the fit that resizes in the same way to another side and cuts nothing off a square."""
        return replace(self, size=side, side=side)
