"""Texts as pictures: a tower of pictures that reads, after CLIPPO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..base import ImageTower, Tower

PAPERS = {"clippo": ("DrawnText", "RenderedInput")}

BACKGROUND = 127
"""Grey of the picture that black letters stand on."""
LONGEST = 768
"""Most letters of a text; the rest is cut."""
_LARGE = 112
"""Side from which on rows are 16 pixels high, as of the paper's 224; on smaller pictures 8, or nothing would fit."""
_NARROWEST, _SPACE = 1 / 4, 1 / 16
"""Width of the narrowest letter, and of what is free on a letter's left, in heights of a row."""


@dataclass(frozen=True)
class RenderedInput:
    """The input of a tower of pictures that reads texts: these, drawn.

    Small letters in black on grey, proportionally spaced, in rows of 16 pixels (8 below a side of 112). The row of a
    letter is ⌊start / (side − widest)⌋, where it would start if all of the text were one line, and ``widest`` is its
    widest letter: rows break within words. What does not fit below is cut. A text is always drawn in the same way; no
    augmentation of pictures ever acts on it.

    The paper draws GNU Unifont's bitmaps; here it is DejaVu Sans, which comes with matplotlib: Latin, Cyrillic, Greek,
    Arabic, Hebrew and others, letter by letter, from the left. Letters that it lacks, as all of Chinese, Japanese and
    Korean, are one and the same box.

    >>> picture = RenderedInput(48)(["a red car"])
    >>> picture.shape, round(picture.max().item() * 255), picture.min().item()
    (torch.Size([1, 3, 48, 48]), 127, 0.0)

    Attributes:
        size: side in pixels of the pictures.
    """

    size: int

    @property
    def row(self) -> int:
        """The height of a row in pixels."""
        return 16 if self.size >= _LARGE else 8

    def stated(self) -> str:
        return repr(self)

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "B 3 size size"]:
        drawn = np.full((len(texts), self.size, self.size), BACKGROUND, np.uint8)
        for picture, text in zip(drawn, texts, strict=True):
            self._draw(picture, text)
        grey = torch.from_numpy(drawn).float() / 255
        return grey[:, None].repeat(1, 3, 1, 1)

    def too_long(self, texts: Sequence[str]) -> Bool[Tensor, " B"]:
        """Say of each text whether some of it is cut.

        >>> RenderedInput(48).too_long(["a red car", "a red car " * 20]).tolist()
        [False, True]
        """
        rows = self.size // self.row
        ends = (self.positions(text)[-1:] for text in texts)
        return torch.tensor(
            [
                len(text.lower()) > LONGEST or any(row >= rows for row, _ in end)
                for text, end in zip(texts, ends, strict=True)
            ],
            dtype=torch.bool,
        )

    def positions(self, text: str) -> list[tuple[int, int]]:
        """Return the row of each letter of a text, and where in the row it begins, in pixels.

        >>> RenderedInput(48).positions("ll" * 9)[:3]
        [(0, 0), (0, 3), (0, 6)]
        """
        widths = [glyph(letter, self.row).shape[1] for letter in text.lower()[:LONGEST]]
        line = max(self.size - max(widths, default=0), 1)
        start, begins, places = 0, dict[int, int](), []
        for width in widths:
            row = start // line
            places.append((row, start - begins.setdefault(row, start)))
            start += width
        return places

    def _draw(self, picture: UInt8[np.ndarray, "size size"], text: str) -> None:
        for letter, (row, left) in zip(text.lower()[:LONGEST], self.positions(text), strict=True):
            top = row * self.row
            if top + self.row > self.size:
                return
            shape = glyph(letter, self.row)
            picture[top : top + self.row, left : left + shape.shape[1]] = shape


class DrawnText(Tower):
    """A tower of texts that is the tower of pictures: it looks at texts drawn as pictures. No tokenizer, no words.

    Where a method looks at pictures too, tower and head of pictures are those of texts as well, with no sign of what
    is which; the method holds them once.

    Args:
        image: the tower of pictures.

    >>> from .convnet import ConvNet
    >>> tower = DrawnText(ConvNet(16))
    >>> tower(tower.input(["a cat", "a dog"])).shape
    torch.Size([2, 128])

    Source: Tschannen et al., "Image-and-Language Understanding from Pixels Only" (2022), arXiv 2212.08045.
    """

    modality: ClassVar[str] = "text"

    def __init__(self, image: ImageTower) -> None:
        super().__init__()
        self.image, self.width = image, image.width
        self.weights_set = image.weights_set

    @property
    def core(self) -> Tower:
        return self.image

    @property
    def pretrained(self) -> bool:
        return self.image.pretrained

    @property
    def input(self) -> RenderedInput:
        return RenderedInput(self.image.size)

    def forward(self, pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.image(pictures)


@lru_cache(maxsize=2**14)
def glyph(letter: str, row: int) -> UInt8[np.ndarray, "row width"]:
    """Draw one letter as high as a row, its width its own: free columns are cut, but for what stands on the left."""
    font = _font(row)
    canvas = Image.new("L", (4 * row, row), BACKGROUND)
    ascent, descent = font.getmetrics()
    # On one base line, as low as lets the row hold what hangs below it.
    base = row - round(row * descent / (ascent + descent))
    ImageDraw.Draw(canvas).text((row, base), letter, fill=0, font=font, anchor="ls")
    pixels = np.asarray(canvas)
    inked = np.flatnonzero((pixels != BACKGROUND).any(0))
    shape = pixels[:, inked[0] : inked[-1] + 1] if len(inked) else pixels[:, :0]
    left = max(round(_SPACE * row), 1)
    right = max(round(_NARROWEST * row) - left - shape.shape[1], 0)
    return np.pad(shape, ((0, 0), (left, right)), constant_values=BACKGROUND)


@cache
def _font(row: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    size = row
    font = ImageFont.truetype(str(file), size)
    # The largest whose letters, and what hangs below them, are no higher than a row.
    while sum(font.getmetrics()) > row + 1:
        size -= 1
        font = ImageFont.truetype(str(file), size)
    return font
