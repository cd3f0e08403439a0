"""Traits of pictures as files: the format, the sizes, what a camera said, and a hash of how they look."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import numpy as np
import polars as pl
from jaxtyping import Float
from PIL import ExifTags, Image

from ... import files
from ..cache import cache_folder, writing
from .decode import MOST_PIXELS, open_picture, small
from .vector import is_drawing

VERSION = 3
"""Version of the traits; raised whenever the code here would say something else of the same bytes."""
HASH_BYTES = 18
"""Bytes of a hash: the signs of the 12 × 12 lowest frequencies."""
SCHEMA: dict[str, Any] = {
    "digest": pl.Binary,
    "format": pl.String,
    "width": pl.Int32,
    "height": pl.Int32,
    "transparent": pl.Boolean,
    "turned": pl.Boolean,
    "darkest": pl.Int16,
    "brightest": pl.Int16,
    "hash": pl.Binary,
}
"""Columns of tables of traits: the digest of a file, and what `Traits` has."""

# 144 bits, of which two copies of a picture differ in at most 8: on 300 stamps and 500 icons that distance joins the
# two copies among them and no other pictures. imagehash's own numbers are 8 and 4. Raise VERSION if either changes.
_SIDE = 12
_OVER = 3  # pixels of a side for each frequency of it that is kept
_DRAWN = _SIDE * _OVER  # pixels of a drawing's side: the size that its hash is made of
_JPEG = {"JPEG", "MPO"}  # an MPO is a JPEG with others behind it
_MANY = 20_000


@final
@dataclass(frozen=True)
class Traits:
    """All that is known of a picture beside its pixels.

    Attributes:
        format: ``"JPEG"``, ``"PNG"``, … or ``"SVG"``.
        width, height: in pixels, as they are stored; None for a drawing, which has no size of its own.
        transparent: it can be transparent.
        turned: the camera was held otherwise, as EXIF says, so that it is turned or mirrored to be seen.
        darkest, brightest: the ends of its grey values when it is shown small, from 0 to 255.
        hash: of how it looks; see `looks_of`.
    """

    format: str
    width: int | None
    height: int | None
    transparent: bool
    turned: bool
    darkest: int
    brightest: int
    hash: bytes

    @property
    def pixels(self) -> int:
        """The number of pixels; none of a drawing."""
        return (self.width or 0) * (self.height or 0)


def traits_of(data: bytes, most: int = MOST_PIXELS) -> Traits:
    """Return the traits of a picture: a JPEG is decoded at 1/8 where that suffices, a drawing is drawn small.

    Only one large picture is decoded at a time, whatever the number of threads.

    Args:
        data: the bytes of a file.
        most: pixels that memory is taken for.

    Raises:
        OSError: for bytes that are no picture, or not a whole one, or in a format that is not read.
        ValueError: for too many pixels, or a drawing that is broken.
    """
    drawing = is_drawing(data)
    with open_picture(data, _DRAWN, most) as opened:
        width, height = opened.size
        turned = opened.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        opened.draft(None, (_SIDE * _OVER * 2, _SIDE * _OVER * 2))
        form = "SVG" if drawing else "JPEG" if opened.format in _JPEG else str(opened.format)
        shown = small(opened, _SIDE * _OVER * 2, most)
        grey = np.asarray(shown.convert("L"))
        return Traits(
            form,
            None if drawing else width,
            None if drawing else height,
            drawing or opened.has_transparency_data,
            turned,
            int(grey.min()),
            int(grey.max()),
            looks_of(shown),
        )


def looks_of(picture: Image.Image) -> bytes:
    """Return a perceptual hash: pictures that look alike have hashes that differ in a few bits.

    It is pHash of 144 bits, as ``imagehash`` computes it, of the whole picture squeezed into a square.

    >>> red = Image.new("L", (90, 60))
    >>> len(looks_of(red)) == HASH_BYTES
    True
    """
    side = _SIDE * _OVER
    grey = picture.convert("L").resize((side, side), Image.Resampling.LANCZOS)
    cosines = _cosines(side)
    lowest = (cosines @ np.asarray(grey, dtype=np.float64) @ cosines.T)[:_SIDE, :_SIDE]
    lowest = lowest.round(
        6
    )  # frequencies that a symmetric picture lacks are exactly zero, without a random sign
    return np.packbits(lowest > np.median(lowest)).tobytes()


@cache
def _cosines(side: int) -> Float[np.ndarray, "side side"]:
    """Return the matrix of the discrete cosine transform of type II, without a scale."""
    places = np.arange(side)
    return 2 * np.cos(np.pi * np.outer(places, 2 * places + 1) / (2 * side))


@final
class TraitsCache:
    """Traits in the cache folder, by the digest of the file, beside the decoded pictures and whatever their form.

    Within a ``with`` block traits are added; they are written at the end and now and then, also when the user stops.
    """

    def __init__(self) -> None:
        self.folder = cache_folder() / "pictures" / f"traits-{VERSION}"
        files.sweep(self.folder)
        frames = [
            frame for path in sorted(self.folder.glob("*.parquet")) if (frame := _read(path)) is not None
        ]
        kept = pl.concat([pl.DataFrame(schema=SCHEMA), *frames]).unique("digest")
        self._kept: dict[bytes, Traits] = {row[0]: Traits(*row[1:]) for row in kept.iter_rows()}
        self._new: dict[bytes, Traits] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception):
            self._write()

    def get(self, digest: bytes) -> Traits | None:
        """Return what is known of a file; None for nothing."""
        return self._kept.get(digest)

    def add(self, digest: bytes, traits: Traits) -> None:
        """Keep what is known of a file, unless it is kept already.

        Raises:
            CacheError: the cache folder cannot be written.
        """
        if digest in self._kept:
            return
        self._kept[digest] = self._new[digest] = traits
        if len(self._new) >= _MANY:
            self._write()

    def _write(self) -> None:
        if self._new:
            rows = [{"digest": digest, **asdict(traits)} for digest, traits in self._new.items()]
            name = hashlib.blake2b(b"".join(self._new), digest_size=12).hexdigest()
            with writing(self.folder / f"{name}.parquet") as part:
                pl.DataFrame(rows, schema=SCHEMA).write_parquet(part)
            self._new = {}


def _read(path: Path) -> pl.DataFrame | None:
    """Read a file of traits; None where it is damaged, so that they are found again."""
    try:
        frame = pl.read_parquet(path)
    except Exception:  # whatever is wrong with it
        return None
    return frame if dict(frame.schema) == SCHEMA else None
