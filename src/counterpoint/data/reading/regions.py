"""Maps and boxes in files: pictures of classes, arrays of numbers, and annotations of instances as in COCO."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Shaped
from PIL import Image, ImageDraw

from ...frames import Frames
from ...raw import UNKNOWN, Boxes, Maps, check_boxes
from ..views.maps import clipped, moved

LEAST = 0.5  # of a box must be in the square that is cut from its picture, else it is gone


class WholeMap(NamedTuple):
    """A map as its file has it.

    Attributes:
        pixels: classes as uint8, or numbers as float32.
        classes: their names; none where the file has no names.
    """

    pixels: Shaped[np.ndarray, "H W"]
    classes: tuple[str, ...] = ()


def read_map(data: bytes) -> WholeMap:
    """Read a map: a picture of one channel, an ``.npy`` array, or annotations of instances.

    Pixels of one byte are classes; pixels of more bytes, and arrays of floats, are numbers.

    Raises:
        OSError, ValueError: for bytes that are no map.
    """
    if data.startswith(b"{"):
        return _of_instances(json.loads(data))
    if data.startswith(b"\x93NUMPY"):
        array = np.load(io.BytesIO(data), allow_pickle=False)
    else:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode not in ("1", "L", "P", "I;16", "I", "F"):
                raise ValueError(f"a picture of mode {image.mode}; a map is a picture of one channel")
            array = np.asarray(image.convert("L") if image.mode == "1" else image)
            array = (array > 0).astype(np.uint8) if image.mode == "1" else array
    if array.ndim != 2 or 0 in array.shape or not np.issubdtype(array.dtype, np.number):
        raise ValueError(f"an array of {array.dtype} of shape {array.shape}; a map is (H, W)")
    return WholeMap(array if array.dtype == np.uint8 else array.astype(np.float32))


def read_boxes(data: bytes, form: int = 0) -> Float32[np.ndarray, "k 4"]:
    """Read the boxes of a picture: an ``.npy`` array ``(k, 4)`` in shares of the sides, or annotations of instances.

    Raises:
        ValueError: for bytes that are no boxes, and for boxes that are flipped, empty or outside.
    """
    if data.startswith(b"{"):
        content = json.loads(data)
        height, width = content["size"]
        corners = np.array([box for *_, box in content["objects"]], np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        sides = np.array([width, height] * 2)
        # Published boxes reach a fraction of a pixel beyond the picture.
        near = np.clip(corners, 0, sides)
        array = np.where(np.abs(near - corners) <= 1, near, corners) / sides
    else:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    boxes = np.atleast_2d(np.asarray(array, np.float32)) if np.size(array) else np.zeros((0, 4), np.float32)
    return check_boxes(Boxes.of([boxes])).corners[0, : len(boxes)].numpy()


def store_map(maps: Maps) -> tuple[str, bytes]:
    """Return one map as a file: a picture of classes, an ``.npy`` array of numbers."""
    file, pixels = io.BytesIO(), maps.pixels[0].numpy()
    if not maps.of_classes:
        np.save(file, pixels)
        return "npy", file.getvalue()
    Image.fromarray(pixels).save(file, "PNG")
    return "png", file.getvalue()


def store_boxes(boxes: Boxes) -> tuple[str, bytes]:
    """Return one picture's boxes as an ``.npy`` file."""
    file = io.BytesIO()
    np.save(file, boxes.corners[0][boxes.present[0]].numpy())
    return "npy", file.getvalue()


def pack_boxes(arrays: Sequence[np.ndarray], form: int = 0) -> Boxes:
    """Return the boxes of several pictures as one raw form."""
    return Boxes.of(arrays)


def cut_boxes(boxes: Boxes, frames: Frames) -> Boxes:
    """Return boxes of whole pictures as they lie in squares that are cut from these.

    Args:
        boxes: in shares of the sides of the whole pictures.
        frames: where in its picture each square lies.
    """
    inside, share = clipped(moved(boxes.corners.double(), frames.double()))
    return Boxes(inside.masked_fill(~(share >= LEAST)[..., None], np.nan).float())


def _of_instances(content: Mapping[str, Any]) -> WholeMap:
    """Return the map of a picture's instances, of which smaller ones lie over larger ones."""
    height, width = content["size"]
    pixels = np.zeros((height, width), np.uint8)
    masks = [(number, filled(where, (width, height))) for number, where, _ in content["objects"]]
    for number, mask in sorted(masks, key=lambda it: -int(it[1].sum())):
        pixels[mask] = number
    return WholeMap(pixels, tuple(content["classes"]))


def filled(where: Any, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """Return the pixels of polygons ``[x, y, x, y, …]``, or of run lengths down the columns, off first.

    Args:
        where: the ``segmentation`` of an annotation of COCO; run lengths are a list, or a compressed text.
        size: width and height of the picture.

    Raises:
        ValueError: for run lengths that are not of a picture of that size.
    """
    if isinstance(where, Mapping):
        counts = where["counts"]
        counts = run_lengths_of(counts) if isinstance(counts, str) else counts
        if sum(counts) != size[0] * size[1] or min(counts, default=0) < 0:
            raise ValueError(f"run lengths of {sum(counts)} pixels for a picture of {size[0]} × {size[1]}")
        on = np.arange(len(counts)) % 2 == 1
        return np.repeat(on, counts).reshape(size, order="C").T
    canvas = Image.new("L", size)
    for polygon in where:
        ImageDraw.Draw(canvas).polygon([float(x) for x in polygon], fill=255)
    return np.asarray(canvas) > 0


def run_lengths_of(text: str) -> list[int]:
    """Return the run lengths that COCO's tools have compressed into a text.

    Each number is written in groups of five bits, the lowest first, with a sixth bit where more follow; from the fourth
    on it is the difference from the number two before.

    >>> run_lengths_of("543N")
    [5, 4, 3, 2]
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        group = ord(letter) - 48
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths end within a number")
    return counts


def known_most(pixels: np.ndarray) -> int:
    """Return the highest class of a map of classes; −1 where none is known."""
    known = pixels[pixels != UNKNOWN]
    return int(known.max()) if len(known) else -1
