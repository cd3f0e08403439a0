"""Emoji ready to be laid on a picture: dyed, turned, scaled, and kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, UInt16
from PIL import Image

from ....pictures.rendering import ARTISTS, Sprite, Sprites
from ..concepts import CONCEPTS
from ..scene import Colour, Facing

RESOLUTION = 144
"""Side of the sprites that all others are scaled from, in pixels."""
DRAWN = 128
"""Pixels of at least this much alpha (of 255) count as a thing's own, in masks and boxes."""

DYES: dict[Colour, tuple[int, int, int]] = {
    "red": (216, 30, 40),
    "orange": (250, 128, 16),
    "yellow": (250, 214, 30),
    "green": (36, 160, 64),
    "blue": (36, 92, 222),
    "purple": (132, 56, 190),
    "pink": (250, 124, 184),
    "brown": (124, 74, 40),
    "grey": (136, 138, 142),
}
"""Red, green and blue of what a dye turns a middling shade into."""
_PLACE = {name: number for number, name in enumerate(CONCEPTS)}


@dataclass(frozen=True, slots=True, eq=False)
class Stamp:
    """A sprite of its final size, without its empty borders.

    Attributes:
        colour: red, green and blue, multiplied by alpha.
        through: 255 − alpha: how much of what is below is still seen.
        drawn: the thing's own pixels.
        left, top: of the rest within the thing's square.
        box: left, top, right, bottom of ``drawn`` within the thing's square; right and bottom are outside.
    """

    colour: UInt16[np.ndarray, "3 h w"]
    through: UInt16[np.ndarray, "h w"]
    drawn: Bool[np.ndarray, "h w"]
    left: int
    top: int
    box: tuple[int, int, int, int]


@lru_cache(maxsize=32768)
def stamp(concept: str, artist: int, colour: Colour | None, side: int, facing: Facing) -> Stamp:
    """Return the stamp of a thing, ``side`` pixels wide."""
    scaled = _original(concept, artist, colour, facing).resize((side, side), Image.Resampling.HAMMING)
    pixels = np.frombuffer(scaled.tobytes(), np.uint8).reshape(side, side, 4).transpose(2, 0, 1)
    left, top, right, bottom = box_of(pixels[3] > 0)
    alpha = pixels[3, top:bottom, left:right].astype(np.uint16)
    premultiplied = np.minimum(pixels[:3, top:bottom, left:right], alpha)
    drawn = alpha >= DRAWN
    x, y, x_, y_ = box_of(drawn)
    return Stamp(
        np.ascontiguousarray(premultiplied),
        255 - alpha,
        drawn,
        left,
        top,
        (x + left, y + top, x_ + left, y_ + top),
    )


def dye(sprite: Sprite, colour: Colour) -> Sprite:
    """Dye a sprite in shades of one colour: the average shade becomes the dye itself, others darker or lighter ones."""
    red, green, blue, alpha = sprite.astype(np.int64).transpose(2, 0, 1)
    luma = (77 * red + 150 * green + 29 * blue) // 256
    counted = (alpha >= DRAWN) & (luma > 40)  # outlines say nothing of how light a thing is
    average = int(luma[counted].mean()) if counted.any() else 128
    shade = np.clip(128 + (luma - average) * 5 // 8, 36, 208)[..., None]
    target = np.asarray(DYES[colour])
    darker = target * shade // 128
    lighter = target + (255 - target) * (shade - 128) * 3 // 512
    dyed = np.where(shade <= 128, darker, lighter)
    return np.concatenate([dyed, alpha[..., None]], axis=-1).astype(np.uint8)


def box_of(drawn: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom around what is drawn; right and bottom are outside, all zero if nothing is."""
    columns, rows = np.flatnonzero(drawn.any(0)), np.flatnonzero(drawn.any(1))
    if not len(columns):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@lru_cache(maxsize=2)
def _sprites(artist: int) -> Sprites:
    return ARTISTS[artist].sprites([concept.codepoints for concept in CONCEPTS.values()], RESOLUTION)


@lru_cache(maxsize=4096)
def _original(concept: str, artist: int, colour: Colour | None, facing: Facing) -> Image.Image:
    """Return a sprite at full size, multiplied by alpha: scaled otherwise, invisible pixels would bleed into edges."""
    sprite = _sprites(artist)[_PLACE[concept]]
    image = Image.fromarray(np.array(sprite) if colour is None else dye(sprite, colour))
    if facing == "right":
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.convert("RGBa")


def credit_line(artists: Collection[str]) -> str:
    """Return the line that must stand wherever pictures composed of these artists' emoji are shown.

    >>> credit_line({"twemoji"}).endswith("dyed, mirrored, scaled and composed")
    True
    """
    changes = "; dyed, mirrored, scaled and composed"
    return "; ".join(a.credit + changes for a in ARTISTS if a.name.lower() in artists)
