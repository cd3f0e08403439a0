"""Files of pictures of every kind, and texts, on which an export is compared with its model."""

from __future__ import annotations

from pathlib import Path

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


def write_pictures(folder: Path) -> list[Path]:
    """Write pictures: wide, high, odd, grey, transparent, turned by their EXIF tag, of 16 bits, and of a palette."""
    transparent = Image.fromarray(_drawn(311, 300))
    transparent.putalpha(Image.fromarray(_drawn(311, 300)[..., 1]))
    grey = Image.fromarray(_drawn(250, 305)[..., 0])
    deep = Image.fromarray(_drawn(240, 420)[..., 2].astype(np.uint16) * 257)
    pictures = {
        "wide.png": Image.fromarray(_drawn(225, 400)),
        "high.png": Image.fromarray(_drawn(513, 180)),
        "odd.png": Image.fromarray(_drawn(33, 32)),
        "grey.png": grey,
        "transparent.png": transparent,
        "deep.png": deep,
        "palette.png": Image.fromarray(_drawn(200, 260)).quantize(16),
    }
    for name, picture in pictures.items():
        picture.save(folder / name)
    on_its_side = Image.Exif()
    on_its_side[ExifTags.Base.Orientation] = 6
    Image.fromarray(_drawn(270, 480)).save(folder / "turned.jpg", exif=on_its_side)
    return [folder / name for name in (*pictures, "turned.jpg")]


def _drawn(height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Return smooth shades, edges and a fine grain, other ones for other sizes."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    shades = np.stack([x, y, (x + y) / 2], -1) * 160
    disc = ((x - 0.4) ** 2 + (y - 0.3) ** 2 < 0.04)[..., None] * np.array([90, 20, 60])
    stripes = ((np.arange(width) // 7) % 2 == 0)[None, :, None] * np.array([0, 40, 10])
    grain = np.random.default_rng(height * width).integers(0, 30, (height, width, 3))
    return np.clip(shades + disc + stripes + grain, 0, 255).astype(np.uint8)
