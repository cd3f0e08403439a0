"""From the bytes of a picture to a square of pixels."""

from __future__ import annotations

import io
import math
import re
import threading
from contextlib import nullcontext
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from ...types import Fit
from .vector import drawn, is_drawing

DECODER = 5
"""Version of the decoder; raised whenever the code here would make other pixels of the same bytes, or none."""
MOST_PIXELS = 100_000_000
"""A picture of more pixels is refused by its header, before memory is taken for it, unless another number is given."""
QUALITY = 95
"""Quality of the JPEGs that pictures are made smaller to."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Pillow's names of the formats that are read, beside drawings (SVG); it reads many more, some by other programs."""

_LARGE = (
    2**24
)  # of more pixels than these only one picture is decoded at a time, whatever the number of threads
_LEFT = 3  # box filters and JPEG's own scaling leave at least so many pixels a side for each of the square's
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = {5, 6, 7, 8}  # orientations whose turn swaps width and height
_TO_BYTES = ((np.arange(2**16) * 255 + 2**15) // (2**16 - 1)).astype(np.uint8)

_one_large = threading.Lock()
_one_transform = threading.Lock()  # a colour transform keeps its last pixel, and is not for two threads


class DecodedSquare(NamedTuple):
    """A square of pixels, and the size of the upright picture that it was cut from.

    Attributes:
        pixels: ``(3, side, side)``.
        height, width: of the picture, in pixels.
    """

    pixels: UInt8[np.ndarray, "3 side side"]
    height: int
    width: int


class ImageTooLargeError(ValueError):
    """The error for a picture whose header says more pixels than are read."""


class UnsupportedFormatError(OSError):
    """The error for a picture in a format that is not read, whatever its name says."""


def side_of(form: int | Fit) -> int:
    """Return the side of the squares of a form, in pixels."""
    return form.side if isinstance(form, Fit) else form


def cut_of(form: int | Fit, height: int, width: int) -> tuple[float, float, float, float]:
    """Return the box of an upright picture that its square of a form shows.

    >>> cut_of(64, 100, 200)
    (0.25, 0.0, 0.75, 1.0)

    Returns:
        Left, top, right and bottom in shares of the picture's width and height; beyond 0 and 1 where a border fills the
        square.
    """
    if isinstance(form, Fit):
        tall, wide = form.resized(height, width)
        before = form.start(form.side)
        left, top = form.start(wide) - before, form.start(tall) - before
        return left / wide, top / tall, (left + form.side) / wide, (top + form.side) / tall
    side = min(height, width)
    across, down = side / width / 2, side / height / 2
    return 0.5 - across, 0.5 - down, 0.5 + across, 0.5 + down


def decode(data: bytes, form: int | Fit, most: int = MOST_PIXELS) -> UInt8[np.ndarray, "3 side side"]:
    """Decode a picture's first frame to an upright square of sRGB: by `square` for a side, by `fitted` for a fit.

    A JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves three times the side; for a fit, never. An SVG is drawn by
    ``resvg``, its longer side four times as long as the square's, its texts in the fonts of the machine.

    Args:
        data: the bytes of a file.
        form: side of the square in pixels, or the way to it that a tower asks for.
        most: pixels that memory is taken for.

    Raises:
        OSError: for bytes that are no picture, or not a whole one, or in none of `FORMATS`.
        ValueError: for more pixels.
    """
    return decode_sized(data, form, most).pixels


def decode_sized(data: bytes, form: int | Fit, most: int = MOST_PIXELS) -> DecodedSquare:
    """Decode a picture as `decode` does, and return its upright size with the pixels.

    Raises:
        OSError: as `decode`.
        ValueError: as `decode`.
    """
    with open_picture(data, 4 * side_of(form), most) as opened:
        stored = opened.size  # a draft makes it smaller
        pixels = decoded(opened, form, most)
        # Pillow turns a TIFF upright as it loads it, and removes the tag.
        width, height = opened.size if opened.format == "TIFF" else stored
        if opened.getexif().get(ExifTags.Base.Orientation, 1) in _ON_ITS_SIDE:
            width, height = height, width
    return DecodedSquare(pixels, height, width)


def decoded(
    opened: Image.Image, form: int | Fit, most: int = MOST_PIXELS
) -> UInt8[np.ndarray, "3 side side"]:
    """Return the first frame of a picture that is open, its pixels not read yet, as `decode` does.

    Raises:
        OSError: for a picture that is not whole.
        ValueError: for more than ``most`` pixels, and for a fit of another library that makes more than `MOST_PIXELS`.
    """
    pixels = _taken(opened, most) if opened.info.get("progressive") else 0
    drafted = None if isinstance(form, Fit) else opened.draft(None, (_LEFT * form, _LEFT * form))
    pixels = max(pixels, _taken(opened, most))
    if isinstance(form, Fit):
        resized = math.prod(form.resized(opened.height, opened.width))
        if resized > MOST_PIXELS and form.resizer != "pillow":
            raise ImageTooLargeError(f"{opened.width} × {opened.height} pixels are too narrow to be resized")
        pixels = max(pixels, min(resized, MOST_PIXELS))
    with _one_large if pixels > _LARGE else nullcontext():
        if isinstance(form, Fit):
            return fitted(opened, form)
        return square(opened, form, drafted[1][2:] if drafted else None)


def shown(data: bytes, side: int, most: int = MOST_PIXELS) -> Image.Image:
    """Decode a picture's first frame for people to look at: all of it, upright, in sRGB on white.

    Args:
        data: the bytes of a file.
        side: the most pixels of its longer side.
        most: pixels that memory is taken for.

    Raises:
        OSError: for bytes that are no picture, or not a whole one.
        ValueError: for more pixels.
    """
    with open_picture(data, side, most) as opened:
        if opened.info.get("progressive"):
            _taken(opened, most)
        opened.draft(None, (side, side))
        _taken(opened, most)
        picture = whole(opened)
    picture.thumbnail((side, side))
    return picture


def reduced(data: bytes, size: int | None, most: int = MOST_PIXELS) -> tuple[bytes, str]:
    """Return a picture whose shorter side is of at most so many pixels, and the suffix of its kind.

    A larger one becomes a JPEG of quality `QUALITY` of its first frame: all of it, upright, in sRGB on white. Any
    other, and a drawing, stays the bytes that it is.

    Args:
        data: the bytes of a file.
        size: in pixels; None for any.
        most: pixels that memory is taken for.

    Raises:
        OSError: for bytes that are no picture, or not a whole one.
        ValueError: for more pixels.
    """
    if is_drawing(data):
        return data, "svg"
    with open_picture(data, 0, most) as opened:
        shorter = min(opened.size)
        if size is None or shorter <= size:
            return data, str(opened.format).lower()
        if opened.info.get("progressive"):
            _taken(opened, most)
        opened.draft(None, (2 * size * opened.width // shorter, 2 * size * opened.height // shorter))
        _taken(opened, most)
        picture = whole(opened)
    shorter = min(picture.size)
    sides = (round(picture.width * size / shorter), round(picture.height * size / shorter))
    file = io.BytesIO()
    picture.resize(sides, Image.Resampling.LANCZOS, reducing_gap=3).save(file, "JPEG", quality=QUALITY)
    return file.getvalue(), "jpg"


def small(opened: Image.Image, side: int, most: int) -> Image.Image:
    """Return the first frame of a picture that is open: all of it, upright, grey, on white, roughly of a side.

    Args:
        opened: whose pixels may have been read.
        side: of which the shorter side is at least as long, unless the picture's own is shorter.
        most: pixels that memory is taken for.

    Raises:
        ValueError: for more pixels.
    """
    with _one_large if _taken(opened, most) > _LARGE else nullcontext():
        opened.load()
        factor = max(min(opened.size) // side, 1)
        return _upright(_on_white(_reduced(opened, factor)), opened).convert("L")


def _reduced(picture: Image.Image, factor: int) -> Image.Image:
    """Return the means of boxes of a picture, in a mode as of `_of_bytes`.

    A large picture is converted in bands, so that the result of the conversion never is in memory as a whole.
    """
    if picture.mode == "F" or picture.mode.startswith("I") or picture.width * picture.height <= _LARGE:
        return _of_bytes(picture).reduce(factor)
    step = factor * max(1, _LARGE // (4 * picture.width * factor))
    tops = range(0, picture.height, step)
    bands = [
        _of_bytes(picture.crop((0, top, picture.width, min(top + step, picture.height)))).reduce(factor)
        for top in tops
    ]
    whole = Image.new(bands[0].mode, (bands[0].width, sum(band.height for band in bands)))
    for number, band in enumerate(bands):
        whole.paste(band, (0, number * bands[0].height))
    return whole


def open_picture(data: bytes, side: int, most: int = MOST_PIXELS) -> Image.Image:
    """Open the bytes of a file by its header; a drawing becomes a picture whose longer side is of so many pixels.

    Raises:
        OSError: for bytes that are no picture, or in none of `FORMATS`.
        ValueError: for more pixels than Pillow opens, or a drawing that is broken or takes too much to draw.
    """
    try:
        return Image.open(io.BytesIO(drawn(data, side) if is_drawing(data) else data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        reason = f"{int(pixels[0]):,} pixels" if pixels else str(error)
        raise ImageTooLargeError(f"{reason}; at most {most:,} are read") from None
    except UnidentifiedImageError:
        if _is_of_another_format(data[:16]):
            raise UnsupportedFormatError(f"a picture, but none of {', '.join(FORMATS)}, SVG") from None
        raise OSError("not a picture of a kind that is read") from None


def _is_of_another_format(start: bytes) -> bool:
    """Return whether a file begins like one of those that Pillow reads and this module does not."""
    Image.init()
    others = [accepts for name, (_, accepts) in Image.OPEN.items() if name not in FORMATS and accepts]
    return len(start) == 16 and any(accepts(start) is True for accepts in others)


def _taken(opened: Image.Image, most: int) -> int:
    """Return the pixels that memory is taken for; a progressive JPEG takes it for all before it is reduced.

    Raises:
        ValueError: for more than ``most``.
    """
    pixels = opened.width * opened.height
    if pixels > most:
        raise ImageTooLargeError(f"{opened.width} × {opened.height} pixels; at most {most:,} are read")
    return pixels


def square(
    picture: Image.Image, size: int, extent: tuple[float, float] | None = None
) -> UInt8[np.ndarray, "3 size size"]:
    """Return a picture as a square: upright, transparent parts on white, shorter side to ``size``, centre crop.

    A picture more than six times as large as the square is first reduced by a whole number (the mean of boxes),
    then resized by the bicubic filter; all others by the bicubic filter alone. Grey values of 16 bits are scaled to
    8. Whole numbers of 32 bits and floats have no agreed white: it is the least of 1 (for floats), 255 and 65,535
    that no value exceeds; where one does, or one is negative, the least value is black and the largest white.
    Colours go from the picture's own profile to sRGB.

    Args:
        picture: as Pillow opened it.
        size: side of the square in pixels.
        extent: width and height of what it shows, where the last column or row of pixels is only partly filled.
    """
    picture.load()  # first, as Pillow turns a TIFF upright when it loads it
    plain = _of_bytes(picture)
    width, height = extent or plain.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    factor = max(int(side / (_LEFT * size)), 1)
    if factor > 1:
        plain = plain.reduce(factor)
    box = (left / factor, top / factor, (left + side) / factor, (top + side) / factor)
    small = _on_white(plain).resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(_upright(_in_srgb(small, picture), picture)).transpose(2, 0, 1)


def fitted(picture: Image.Image, fit: Fit) -> UInt8[np.ndarray, "3 side side"]:
    """Return a picture as a fit resizes it, upright and in sRGB on white: a square whose middle is what a tower takes.

    Pixels are those of the transforms of open_clip, timm or transformers: nothing is reduced before it is resized.

    Args:
        picture: as Pillow opened it.
        fit: the tower's.
    """
    upright = whole(picture)
    height, width = fit.resized(upright.height, upright.width)
    before = fit.start(fit.side)  # pixels of the square that lie before its middle
    left, top = fit.start(width) - before, fit.start(height) - before
    if fit.resizer == "pillow" and height * width > MOST_PIXELS:
        # A narrow picture, whose length would be enlarged too: only the part that is cut out of it is resized.
        across, down = upright.width / width, upright.height / height
        box = (left * across, top * down, (left + fit.side) * across, (top + fit.side) * down)
        filter_ = Image.Resampling[fit.interpolation.upper()]
        return np.asarray(upright.resize((fit.side, fit.side), filter_, box=box)).transpose(2, 0, 1)
    resized = _resized(upright, (width, height), fit)
    canvas = Image.new("RGB", (fit.side, fit.side), fit.fill)
    canvas.paste(resized, (-left, -top))
    return np.asarray(canvas).transpose(2, 0, 1)


def _resized(picture: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Resize a picture to a width and a height with a fit's filter, by its resizer."""
    if fit.resizer == "pillow":
        return picture.resize(size, Image.Resampling[fit.interpolation.upper()])
    from torchvision.transforms.v2 import functional as F  # here, as it is seldom needed

    bytes_ = F.pil_to_tensor(picture)
    resized = F.resize(bytes_, list(size[::-1]), F.InterpolationMode(fit.interpolation), antialias=True)
    return Image.fromarray(resized.permute(1, 2, 0).numpy())


def whole(picture: Image.Image) -> Image.Image:
    """Return a picture upright, in sRGB on white, in its own size.

    Args:
        picture: as Pillow opened it.
    """
    picture.load()
    return _upright(_in_srgb(_on_white(_of_bytes(picture)), picture), picture)


def _of_bytes(picture: Image.Image) -> Image.Image:
    """Return the picture in a mode whose bands can be averaged: ``L``, ``RGB``, ``RGBA`` or ``CMYK``."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        return Image.fromarray(_scaled(picture))
    if picture.mode == "RGBA" or (picture.mode in {"L", "RGB", "CMYK"} and not picture.has_transparency_data):
        return picture
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _scaled(picture: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """Return the values of a picture of more than eight bits in eight."""
    values = np.asarray(picture)
    if picture.mode.startswith("I;16"):
        return _TO_BYTES[values]
    values = np.nan_to_num(values.astype(np.float32, copy=False), posinf=0, neginf=0)
    black, white = float(values.min()), float(values.max())
    if black >= 0 and white <= 2**16 - 1:
        whites = (255, 65535) if picture.mode == "I" else (1, 255, 65535)
        # Before 11.0 Pillow opened a grey PNG of 16 bits as whole numbers of 32.
        black, white = 0.0, 65535.0 if picture.format == "PNG" else next(w for w in whites if white <= w)
    scale = 255 / (white - black) if white > black else 0.0
    return np.rint((values - black) * scale).astype(np.uint8)


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _upright(picture: Image.Image, opened: Image.Image) -> Image.Image:
    turn = _TURNS.get(opened.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


def _in_srgb(picture: Image.Image, opened: Image.Image) -> Image.Image:
    profile = opened.info.get("icc_profile")
    transform = _transform(profile, picture.mode) if profile else None
    if transform is None:
        return picture.convert("RGB")
    with _one_transform:
        converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None  # it is None only when done in place
    return converted


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the way from a profile to sRGB; None where that is nothing, or the profile is of no use."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None
