"""From scenes to pixels: pictures, what is seen of each thing, and boxes around it, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from ....corruptions import CORRUPTIONS
from ...lru import PictureLRU
from ..scene import UNIT, Scene, Thing
from .backgrounds import background
from .sprites import Stamp, box_of, stamp


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """Some scenes as pictures.

    Attributes:
        pictures: red, green and blue.
        masks: of each scene, per thing, the pixels in which it is seen: those it covers and no nearer thing does.
        boxes: of each scene, per thing, left, top, right, bottom around its mask in pixels; right and bottom are
            outside, all are zero where nothing is seen.
    """

    pictures: UInt8[Tensor, "n 3 size size"]
    masks: tuple[Bool[np.ndarray, "_ size size"], ...]
    boxes: tuple[Int[np.ndarray, "_ 4"], ...]


def draw(scenes: Sequence[Scene], size: int = 96) -> Drawing:
    """Draw scenes as squares of ``size`` pixels; a scene's picture does not depend on the others.

    Compositing is in whole numbers, so pictures are the same wherever Pillow and resvg scale and draw the same.

    >>> draw([Scene(0, (Thing("cat", "red", "large", 400, 500, 500),))]).boxes[0].shape
    (1, 4)
    """
    pictures = np.empty((len(scenes), 3, size, size), np.uint8)
    masks, boxes = [], []
    for scene, canvas in zip(scenes, pictures, strict=True):
        canvas[...] = background(scene.background, size)
        seen = np.zeros((len(scene.things), size, size), np.bool_)
        around = np.zeros((len(scene.things), 4), np.int64)
        _compose(scene.things, canvas, seen, around)
        masks.append(seen)
        boxes.append(around)
    drawn = torch.from_numpy(pictures)
    _corrupt(drawn, scenes)
    return Drawing(drawn, tuple(masks), tuple(boxes))


def pictures(scenes: Sequence[Scene], size: int = 96) -> UInt8[Tensor, "n 3 size size"]:
    """Draw scenes without their masks and boxes; those that were drawn lately come from memory."""
    return _DRAWN(scenes, size) if scenes else draw(scenes, size).pictures


def layers(scenes: Sequence[Scene], size: int = 96) -> UInt8[Tensor, "n 4 size size"]:
    """Return pictures of scenes, and in a fourth channel the thing that is seen: 1 for the first, 0 for none.

    Those that were drawn lately come from memory.
    """
    return _LAYERS(scenes, size) if scenes else _layers(scenes, size)


def _layers(scenes: Sequence[Scene], size: int) -> UInt8[Tensor, "n 4 size size"]:
    drawing = draw(scenes, size)
    seen = torch.zeros(len(scenes), 1, size, size, dtype=torch.uint8)
    for canvas, masks in zip(seen, drawing.masks, strict=True):
        for number, mask in enumerate(masks, 1):
            canvas[0][torch.from_numpy(mask)] = number
    return torch.cat([drawing.pictures, seen], 1)


_DRAWN: PictureLRU[Scene] = PictureLRU(lambda scenes, size: draw(scenes, size).pictures)
_LAYERS: PictureLRU[Scene] = PictureLRU(_layers)


def _compose(things: Sequence[Thing], canvas: np.ndarray, seen: np.ndarray, boxes: np.ndarray) -> None:
    size = canvas.shape[-1]
    covered: list[tuple[int, int, int, int]] = []
    for i, thing in enumerate(things):
        one, x, y = _placed(thing, size)
        left, top = x + one.left, y + one.top
        height, width = one.through.shape
        right, bottom = left + width, top + height
        window = np.s_[top:bottom, left:right]
        below = canvas[:, *window]
        mixed = below * one.through + np.uint16(128)  # divided by 255 and rounded, exactly
        mixed += mixed >> 8
        mixed >>= 8
        mixed += one.colour
        below[...] = mixed
        seen[i][window] = one.drawn
        boxes[i] = one.box[0] + x, one.box[1] + y, one.box[2] + x, one.box[3] + y
        for j, (left_, top_, right_, bottom_) in enumerate(covered):
            if left < right_ and left_ < right and top < bottom_ and top_ < bottom:
                seen[j][window] &= ~one.drawn
                boxes[j] = box_of(seen[j])
        covered.append((left, top, right, bottom))


def _placed(thing: Thing, size: int) -> tuple[Stamp, int, int]:
    """Return the stamp of a thing, and where the upper left corner of its square is, in pixels."""
    side = max(1, (thing.side * size + UNIT // 2) // UNIT)
    left, top = (
        min(max(((2 * middle - thing.side) * size + UNIT) // (2 * UNIT), 0), size - side)
        for middle in (thing.x, thing.y)
    )
    return stamp(thing.concept, thing.artist, thing.colour, side, thing.facing), left, top


def _corrupt(pictures: UInt8[Tensor, "n 3 size size"], scenes: Sequence[Scene]) -> None:
    for i, scene in enumerate(scenes):
        if scene.corruption is not None:
            kind, _, strength = scene.corruption.rpartition("_")
            one = slice(i, i + 1)
            pictures[one] = CORRUPTIONS[kind](pictures[one], torch.tensor([scene.index]), int(strength) - 1)
