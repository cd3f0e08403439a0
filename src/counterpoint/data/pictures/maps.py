"""Maps from files, as squares that show of their pictures what these pictures' squares show."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self, final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ...frames import Frames, of_boxes
from ...networks.base import Input
from ...networks.towers.maps import MapSquare
from ...networks.towers.parts.sampling import sampled
from ...raw import UNKNOWN, Maps
from ...types import Fit
from ..base import stored_size
from ..progress import with_bar
from ..reading.file_examples import ReadOptions
from ..reading.regions import WholeMap, known_most, read_map
from ..sources import Asset, digest_of
from .decode import cut_of, side_of

UNREADABLE, BROKEN = "unreadable file", "broken map"
"""The reasons for a file whose bytes cannot be read, and for one that is no map."""
NAMES = "classes.txt"
"""The file beside maps with the names of their classes, one a line, the first of class 0."""
_MEMORY = 2**29  # bytes of squares that a process keeps
_TOGETHER = 64  # files whose maps wait in memory
_THREADS = 16


@final
class DecodedMaps:
    """The maps of some files, read again when they are asked for; squares are kept in memory.

    Args:
        files: the maps.
        form: side of the squares in pixels, or the way to them that a tower asks for.

    Attributes:
        digests: of each file's bytes; empty for a file that could not be read.
        sizes: height and width of each map; 0 where there is none.
        classes: the names of the classes: those of the files, of `NAMES` beside them, or numbers; none of numbers.
        unreadable: a file's position to why it is no map.
        whole: never, as files are read again.
    """

    hashed: ClassVar[bool] = False
    squares: ClassVar[bool] = True
    whole: ClassVar[bool] = False

    def __init__(self, files: Sequence[Asset], form: int | Fit) -> None:
        self._files, self.form = files, form
        self.digests: list[str] = []
        self.unreadable: dict[int, str] = {}
        self.sizes = np.zeros((len(files), 2), np.int64)
        names = _names_beside(files)
        self.classes: tuple[str, ...] = names
        first: WholeMap | None = None
        most = -1
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            starts = range(0, len(files), _TOGETHER)
            blocks = with_bar(starts, f"Reading {len(files):,} maps")
            for digest, result in (it for k in blocks for it in pool.map(_read, files[k : k + _TOGETHER])):
                position = len(self.digests)
                self.digests.append(digest)
                if isinstance(result, str):
                    self.unreadable[position] = result
                    continue
                first = first or result
                if problem := _other(result, first, names):
                    self.unreadable[position] = f"{BROKEN}: {problem}"
                    continue
                self.sizes[position] = result.pixels.shape
                most = max(most, known_most(result.pixels)) if result.pixels.dtype == np.uint8 else most
        if first is not None and first.pixels.dtype == np.uint8:
            self.classes = first.classes or names or tuple(map(str, range(most + 1)))
        self._dtype = np.dtype(np.uint8) if first is None else first.pixels.dtype
        self._remember()

    def _remember(self) -> None:
        self._square = lru_cache(max(1, _MEMORY // (side_of(self.form) ** 2 * self._dtype.itemsize)))(
            self._made
        )

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_square"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._remember()

    @classmethod
    def of(cls, files: Sequence[Asset], modality: str, options: ReadOptions) -> Self:
        return cls(files, options.size)

    @classmethod
    def form_for(cls, input: Input, *, training: bool) -> int | Fit | None:
        """Return the form of the maps that an input takes; in training a larger one, as views are cut from it."""
        if not isinstance(input, MapSquare):
            return None
        if not training:
            return input.evaluation_fit
        side = stored_size(input.size)
        return side if input.way is None else input.way.uncut(side)

    def read(self, positions: Int[np.ndarray, " n"]) -> Maps:
        """Return the maps of some files by their positions; at −1 a map of which nothing is known.

        Raises:
            OSError, ValueError: if a file cannot be read, or is not what it was.
        """
        side = side_of(self.form)
        nothing = torch.full((side, side), UNKNOWN, dtype=torch.uint8)
        if self._dtype != np.uint8:
            nothing = torch.full((side, side), torch.nan)
        squares = [self._square(position) if position >= 0 else nothing for position in positions.tolist()]
        return self.pack(squares)

    def _made(self, position: int) -> Tensor:
        return self.decode(self.encoded(position))

    def cuts(self, positions: Int[np.ndarray, " n"]) -> Frames:
        """Return where in the whole maps of some files their squares lie; of all of it at −1."""
        sizes = [(1, 1) if at < 0 else self.sizes[at].tolist() for at in positions.tolist()]
        return of_boxes(torch.tensor([cut_of(self.form, *size) for size in sizes]).reshape(-1, 4))

    def cuts_of(self, examples: Sequence[Tensor]) -> Frames:
        """Return the frames of whole squares, whose maps are not known any more."""
        return of_boxes(torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(len(examples), 4))

    def decode(self, data: bytes) -> Tensor:
        """Return the square of the map in the bytes of a further file.

        Raises:
            OSError, ValueError: if it is none.
        """
        pixels = torch.from_numpy(np.array(read_map(data).pixels))
        height, width = pixels.shape
        left, top, right, bottom = cut_of(self.form, height, width)
        shares = (torch.arange(side_of(self.form), dtype=torch.float64) + 0.5) / side_of(self.form)
        rows, columns = (top + shares * (bottom - top)) * height, (left + shares * (right - left)) * width
        whole = torch.tensor([[0, 0, height, width]])
        return sampled(Maps(pixels[None]), rows[None, :, None], columns[None, None], whole)[0]

    def pack(self, examples: Sequence[Tensor]) -> Maps:
        """Return squares as one raw form."""
        side = side_of(self.form)
        pixels = torch.stack(list(examples)) if examples else torch.zeros(0, side, side, dtype=torch.uint8)
        return Maps(pixels, self.classes)

    @staticmethod
    def why(error: Exception) -> str:
        """Return the reason why a file is no map, in the same words for all that have it."""
        return UNREADABLE if isinstance(error, OSError) else BROKEN

    def encoded(self, position: int) -> bytes:
        """Return the bytes of a file.

        Raises:
            OSError, ValueError: if it cannot be read, or is not what it was.
        """
        return self._files[position].read_same(self.digests[position])

    def formed(self, form: int | Fit) -> DecodedMaps:
        """Return the same maps as squares of another form."""
        other = object.__new__(DecodedMaps)
        other.__setstate__({**self.__getstate__(), "form": form})
        return other


def _read(file: Asset) -> tuple[str, WholeMap | str]:
    """Return the digest of a file's bytes, and its map or the reason why there is none."""
    try:
        data = file.read_bytes()
    except OSError as error:
        return "", f"{UNREADABLE}: {error.strerror or error}"
    try:
        return digest_of(data), read_map(data)
    except Exception as error:  # whatever a decoder raises is why there is no map
        return digest_of(data), f"{BROKEN}: {' '.join(str(error).split()) or type(error).__name__}"


def _other(result: WholeMap, first: WholeMap, names: Sequence[str]) -> str:
    """Return why a map cannot stand beside the first one; nothing if it can."""
    of_classes = result.pixels.dtype == np.uint8
    if result.pixels.dtype != first.pixels.dtype or result.classes != first.classes:
        kinds = ["classes" if it.pixels.dtype == np.uint8 else "numbers" for it in (result, first)]
        return f"it holds {kinds[0]}, and the first map {kinds[1]} or other classes"
    known = result.classes or names
    if of_classes and known and (most := known_most(result.pixels)) >= len(known):
        return f"class {most} is beyond the {len(known)} names of classes"
    return ""


def _names_beside(files: Sequence[Asset]) -> tuple[str, ...]:
    """Return the names in `NAMES` in the folder of the first map, or in the one above; none without such a file."""
    if not len(files):
        return ()
    folder = Path(files[0].file).parent
    for file in (folder / NAMES, folder.parent / NAMES):
        if file.is_file():
            return tuple(
                line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()
            )
    return ()
