"""Backgrounds of scenes: plain colours, gradients and simple textures, in whole-number arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from jaxtyping import Int, UInt8

from .....registry import unknown
from ....rng import Rng

Rgb = tuple[int, int, int]
Places = Int[np.ndarray, "H W"]
Painter = Callable[[Places, Places], Int[np.ndarray, "3 H W"]]
"""Function from the row and the column of each pixel, in thousandths of the side, to the pixel's colour."""

_HORIZON = 620  # lengths are in thousandths of the side
_WIDTH = 125  # of stripes, of the fields of a chessboard; height of a brick
_JOINT = 14
_DOTS, _RADIUS = 167, 38  # from dot to dot, and of a dot
_GRAIN = 31
_ONES = np.ones((3, 1, 1), np.int64)


def _rgb(colour: Rgb) -> Int[np.ndarray, "3 1 1"]:
    return np.asarray(colour, np.int64).reshape(3, 1, 1)


def plain(colour: Rgb) -> Painter:
    """Return a painter of one colour."""
    return lambda y, x: _rgb(colour) + 0 * y


def gradient(top: Rgb, bottom: Rgb) -> Painter:
    """Return a painter that goes from one colour down to another."""
    return lambda y, x: (_rgb(top) * (1000 - y) + _rgb(bottom) * y) // 1000


def horizon(above: Rgb, below: Rgb) -> Painter:
    """Return a painter of one colour over another."""
    return lambda y, x: np.where(y < _HORIZON, _rgb(above), _rgb(below))


def _pattern(ground: Rgb, figure: Rgb, inside: Callable[[Places, Places], np.ndarray]) -> Painter:
    return lambda y, x: np.where(inside(y, x), _rgb(figure), _rgb(ground))


def stripes(ground: Rgb, figure: Rgb) -> Painter:
    """Return a painter of upright stripes."""
    return _pattern(ground, figure, lambda y, x: x // _WIDTH % 2 == 1)


def checks(ground: Rgb, figure: Rgb) -> Painter:
    """Return a painter of a chessboard."""
    return _pattern(ground, figure, lambda y, x: (x // _WIDTH + y // _WIDTH) % 2 == 1)


def dots(ground: Rgb, figure: Rgb) -> Painter:
    """Return a painter of round dots in rows."""
    half = _DOTS // 2
    return _pattern(
        ground, figure, lambda y, x: (x % _DOTS - half) ** 2 + (y % _DOTS - half) ** 2 < _RADIUS**2
    )


def bricks(ground: Rgb, figure: Rgb) -> Painter:
    """Return a painter of a brick wall: ``ground`` is the mortar."""

    def inside(y: Places, x: Places) -> np.ndarray:
        shifted = x + y // _WIDTH % 2 * _WIDTH
        return np.asarray((y % _WIDTH >= _JOINT) & (shifted % (2 * _WIDTH) >= _JOINT))

    return _pattern(ground, figure, inside)


def grain(ground: Rgb, figure: Rgb) -> Painter:
    """Return a painter of small squares of random shades between two colours."""
    cells = 1000 // _GRAIN + 1
    shades = np.asarray([Rng(0, cell, "grain").integer("shade", 0, 255) for cell in range(cells**2)])

    def paint(y: Places, x: Places) -> Int[np.ndarray, "3 H W"]:
        shade = shades[y // _GRAIN * cells + x // _GRAIN]
        return (_rgb(ground) * (255 - shade) + _rgb(figure) * shade) // 255

    return paint


BACKGROUNDS: dict[str, Painter] = {
    "white": plain((255, 255, 255)),
    "grey": plain((200, 203, 206)),
    "black": plain((34, 36, 40)),
    "cream": plain((250, 240, 214)),
    "pale blue": plain((205, 228, 247)),
    "pale green": plain((211, 238, 208)),
    "pink": plain((250, 218, 228)),
    "lilac": plain((226, 216, 245)),
    "sunset": gradient((92, 74, 140), (252, 176, 110)),
    "dawn": gradient((178, 206, 240), (252, 222, 214)),
    "meadow": horizon((190, 224, 248), (150, 200, 120)),
    "beach": horizon((150, 208, 238), (240, 220, 170)),
    "snow": horizon((176, 192, 214), (244, 248, 252)),
    "striped": stripes((250, 246, 238), (206, 220, 234)),
    "checked": checks((250, 248, 244), (214, 206, 196)),
    "dotted": dots((252, 246, 232), (226, 178, 160)),
    "brick": bricks((222, 214, 206), (196, 142, 122)),
    "sandy": grain((228, 210, 170), (206, 184, 140)),
}
"""Painters by name; the name is what annotations say."""


@lru_cache(maxsize=256)
def background(name: str, size: int) -> UInt8[np.ndarray, "3 size size"]:
    """Return a background as a read-only picture.

    >>> background("meadow", 32)[:, 0, 0].tolist(), background("meadow", 32)[:, -1, 0].tolist()
    ([190, 224, 248], [150, 200, 120])

    Raises:
        UnknownNameError: for a name that is not in `BACKGROUNDS`.
    """
    if name not in BACKGROUNDS:
        raise unknown("background", name, BACKGROUNDS)
    middles = (2 * np.arange(size) + 1) * 500 // size
    y, x = np.broadcast_arrays(middles[:, None], middles[None, :])
    picture = (BACKGROUNDS[name](y, x) * _ONES).astype(np.uint8)
    picture.flags.writeable = False
    return picture
