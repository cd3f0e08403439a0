"""Files of pictures of every kind, and texts, on which an export is compared with its model."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image

TEXTS = (
    "a",
    "a red car on a road",
    "A photograph of two dogs, playing at the beach!",
    "une voiture rouge; красная машина; 赤い車",
    "every word of a long text counts, " * 40,
    "",
)
"""Short ones, long ones that no context holds, one of several scripts, and the empty one."""


EXTREME = ("one pixel", "narrow")
"""Kinds of pictures on which some libraries go wrong, whatever the model is."""


@cache
def picture_files() -> Mapping[str, bytes]:
    """Return a picture file of every kind and shape, by its kind."""
    transparent = Image.fromarray(_drawn(311, 300))
    transparent.putalpha(Image.fromarray(_drawn(311, 300)[..., 1]))
    on_its_side = Image.Exif()
    on_its_side[ExifTags.Base.Orientation] = 6
    return {
        "wide": _file(Image.fromarray(_drawn(225, 400))),
        "high": _file(Image.fromarray(_drawn(513, 180))),
        "odd": _file(Image.fromarray(_drawn(33, 32))),
        "large": _file(Image.fromarray(_drawn(600, 800)), "JPEG"),
        "grey": _file(Image.fromarray(_drawn(250, 305)[..., 0])),
        "transparent": _file(transparent),
        "turned by EXIF": _file(Image.fromarray(_drawn(270, 480)), "JPEG", exif=on_its_side),
        "16 bits": _file(Image.fromarray(_drawn(240, 420)[..., 2].astype(np.uint16) * 257)),
        "palette": _file(Image.fromarray(_drawn(200, 260)).quantize(16)),
        "CMYK": _file(Image.fromarray(_drawn(210, 280)).convert("CMYK"), "JPEG"),
        "one pixel": _file(Image.fromarray(_drawn(1, 1))),
        "narrow": _file(Image.fromarray(_drawn(3, 2000))),
    }


def _file(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _drawn(height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Return smooth shades, edges and a fine grain, other ones for other sizes."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    shades = np.stack([x, y, (x + y) / 2], -1) * 160
    disc = ((x - 0.4) ** 2 + (y - 0.3) ** 2 < 0.04)[..., None] * np.array([90, 20, 60])
    stripes = ((np.arange(width) // 7) % 2 == 0)[None, :, None] * np.array([0, 40, 10])
    grain = np.random.default_rng(height * width).integers(0, 30, (height, width, 3))
    return np.clip(shades + disc + stripes + grain, 0, 255).astype(np.uint8)
