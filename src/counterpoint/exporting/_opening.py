"""The function by which a card opens a picture file for another library as this package opens it."""

from __future__ import annotations

import inspect
import io

import numpy
from PIL import Image, ImageCms, ImageOps

IMPORTS = ("import io", "import numpy", "from PIL import Image, ImageCms, ImageOps")
"""Imports of `open_rgb`, for the card."""


def open_rgb(file: str | io.BytesIO) -> Image.Image:
    """Open a picture upright, on white, in sRGB, with 8 bits a channel."""
    picture = ImageOps.exif_transpose(Image.open(file))
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((numpy.asarray(picture) / 257 + 0.5).astype("uint8"))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if picture.mode not in ("L", "CMYK"):
        picture = picture.convert("RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                srgb = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(picture, source, srgb, outputMode="RGB")
                picture = converted or picture
        except (OSError, ImageCms.PyCMSError):
            pass  # The profile is damaged.
    return picture.convert("RGB")


def lines() -> list[str]:
    """Return the imports and the source of `open_rgb`."""
    return [*IMPORTS, "", "", *inspect.getsource(inspect.unwrap(open_rgb)).rstrip().splitlines(), "", ""]
