"""Pictures from files, as squares of one form: kept in the cache folder where there is room, else decoded anew."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ClassVar, Self, final

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import get_worker_info

from ...frames import Frames, of_boxes
from ...networks.base import Input
from ...networks.towers.parts.pixels import Square
from ...types import Fit
from ..base import stored_size
from ..progress import with_bar
from ..reading.file_examples import ReadOptions
from ..sources import Asset, digest_of
from .cache import PictureCache, mapped
from .decode import (
    MOST_PIXELS,
    DecodedSquare,
    ImageTooLargeError,
    UnsupportedFormatError,
    cut_of,
    decode_sized,
    shown,
    side_of,
)
from .traits import Traits, TraitsCache, traits_of

_AT_ONCE = 64  # files whose pixels wait in memory to be kept
_THREADS = 16
BROKEN = "broken picture"
"""The reason for a file that is no whole picture."""
_REASONS = {
    ImageTooLargeError: "picture of too many pixels",
    UnsupportedFormatError: "picture in a format that is not read",
}


@final
class DecodedPictures:
    """The decoded pictures of some files, mapped from the cache and never in memory as a whole.

    A picture is known by the digest of its file's bytes: one that is new, changed, or lost from the cache is decoded
    alone, and one that cannot be decoded is not tried again. The cache is bounded. Of pictures that it has no room for
    only the traits are found out at first, which the smallest decoding gives; they are decoded whenever they are asked
    for.

    Args:
        files: the pictures.
        form: side of the decoded squares in pixels, or the way to them that a tower asks for.
        digests: of the files' bytes, where they are known.
        traits: are told those of pictures whose bytes are read; none unless given.
        looks: find the traits of all pictures, and not only of those that the cache has no room for.
        most_pixels: of a picture; one of more is unreadable.

    Attributes:
        size: side of the pictures in pixels.
        hashed: where looks are asked for.
        digests: of each file's bytes; empty for a file that could not be read.
        whole: the cache holds every picture that can be read, so that files which change matter no more.
        unreadable: a file's position to why it is no picture: a reason, the same words for all that have it, a colon,
            and the details.

    Raises:
        CacheError: the cache folder has room for some of them and cannot be written.
    """

    squares: ClassVar[bool] = True
    hashed: ClassVar[bool] = True

    def __init__(
        self,
        files: Sequence[Asset],
        form: int | Fit,
        digests: Sequence[str] = (),
        traits: TraitsCache | None = None,
        *,
        hashed: bool = True,
        most_pixels: int = MOST_PIXELS,
    ) -> None:
        self.size, self._files, self.form, self._most = side_of(form), files, form, most_pixels
        self.digests: list[str] = []
        self.unreadable: dict[int, str] = {}
        with PictureCache(form, most_pixels) as cache:
            known = digests or [""] * len(files)
            for digest, reason in _read(files, known, cache, traits, hashed, most_pixels):
                if reason is not None:
                    self.unreadable[len(self.digests)] = reason
                self.digests.append(digest)
        self._blocks = [(block.path, block.shape) for block in cache.blocks]
        self._places = np.array([cache.locate(digest) for digest in self.digests], np.int32).reshape(-1, 2)
        self._sizes = np.array([cache.size_of(digest) for digest in self.digests], np.int32).reshape(-1, 2)
        readable = np.delete(np.arange(len(self._places)), list(self.unreadable))
        self.whole = bool((self._places[readable, 0] >= 0).all())
        self._mapped: dict[int, np.ndarray] = {}

    @classmethod
    def of(cls, files: Sequence[Asset], modality: str, options: ReadOptions) -> Self:
        return cls(
            files,
            options.size,
            traits=options.traits,
            hashed=options.hashed,
            most_pixels=options.most_pixels,
        )

    @classmethod
    def form_for(cls, input: Input, *, training: bool) -> int | Fit | None:
        """Return the form of the pictures that an input takes; in training a larger one, as views are cut from it."""
        if not isinstance(input, Square):
            return None
        if not training:
            return input.evaluation_fit
        side = stored_size(input.size)
        return side if input.fit is None else input.fit.uncut(side)

    @property
    def sizes(self) -> Int[np.ndarray, "n 2"]:
        """Height and width of the upright pictures, as far as the cache knows them; else 0."""
        return self._sizes

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_mapped": {}}  # another process maps the files itself

    def read(self, positions: Int[np.ndarray, " n"]) -> UInt8[Tensor, "n 3 size size"]:
        """Return the pictures of some files by their positions; black ones at −1.

        Raises:
            OSError, ValueError: if a file that has to be decoded now cannot be, or is not what it was.
        """
        pictures = np.zeros((len(positions), 3, self.size, self.size), np.uint8)
        present = np.flatnonzero(positions >= 0)
        blocks, rows = self._places[positions[present]].T
        for number in np.unique(blocks).tolist():
            here = blocks == number
            chosen = present[here]
            kept = self._map(number) if number >= 0 else None
            if kept is not None:
                pictures[chosen] = kept[rows[here]]
            else:
                pictures[chosen] = [it.pixels for it in self._decoded(positions[chosen])]
        return torch.from_numpy(pictures)

    def cuts(self, positions: Int[np.ndarray, " n"]) -> Frames:
        """Return where in the upright pictures of some files their squares lie; of all of it at −1.

        Raises:
            OSError, ValueError: if a file that has to be decoded now cannot be, or is not what it was.
        """
        existing = positions[positions >= 0]
        self._decoded(existing[(self._sizes[existing] == 0).any(1)])  # of which the cache knows no size
        sizes = np.ones((len(positions), 2), np.int32)
        sizes[positions >= 0] = self._sizes[existing]
        return self._framed(sizes.tolist())

    def cuts_of(self, examples: Sequence[DecodedSquare]) -> Frames:
        """Return where in their upright pictures some decoded squares lie."""
        return self._framed([(it.height, it.width) for it in examples])

    def _framed(self, sizes: Sequence[Sequence[int]]) -> Frames:
        cuts = [cut_of(self.form, height, width) for height, width in sizes]
        return of_boxes(torch.tensor(cuts).reshape(-1, 4))

    def _map(self, number: int) -> np.ndarray | None:
        """Map a block; None where it has been removed since."""
        if number not in self._mapped:
            try:
                self._mapped[number] = mapped(*self._blocks[number])
            except (OSError, ValueError):
                return None
        return self._mapped[number]

    def _decoded(self, positions: Int[np.ndarray, " n"]) -> list[DecodedSquare]:
        """Decode some files that the cache does not hold, and note the sizes of their pictures."""

        def one(position: int) -> DecodedSquare:
            result = self.decode(self.encoded(position))
            self._sizes[position] = result.height, result.width
            return result

        # The workers of a loader are as many as there are cores to be used.
        threads = 1 if get_worker_info() else min(_THREADS, os.cpu_count() or 1)
        with quietly(), ThreadPoolExecutor(threads) as pool:
            return list(pool.map(one, positions.tolist()))

    def decode(self, data: bytes) -> DecodedSquare:
        """Return the picture in the bytes of a further file, with its size.

        Raises:
            OSError, ValueError: if it is none.
        """
        return decode_sized(data, self.form, self._most)

    def pack(self, examples: Sequence[DecodedSquare]) -> UInt8[Tensor, "n 3 size size"]:
        """Return decoded pictures as one raw form."""
        return torch.from_numpy(np.stack([it.pixels for it in examples]))

    @staticmethod
    def why(error: Exception) -> str:
        """Return the reason why a file is no picture, in the same words for all that have it."""
        return why(error)

    def encoded(self, position: int) -> bytes:
        """Return the bytes of a file.

        Raises:
            OSError, ValueError: if it cannot be read, or is not what it was.
        """
        return self._files[position].read_same(self.digests[position])

    def shown(self, position: int, side: int) -> Image.Image:
        """Decode a file's picture for people to look at; see `counterpoint.data.pictures.decode.shown`."""
        return shown(self._files[position].read_bytes(), side, self._most)

    def formed(self, form: int | Fit) -> DecodedPictures:
        """Return the same pictures decoded to squares of another form.

        Raises:
            ValueError: if a file is not what it was.
        """
        other = DecodedPictures(self._files, form, self.digests, most_pixels=self._most)
        for position, file in enumerate(self._files):
            if position in self.unreadable:
                continue
            if position in other.unreadable or other.digests[position] != self.digests[position]:
                raise ValueError(f"{file} changed while it was in use: run the same command again")
        return other


def _read(
    files: Sequence[Asset],
    digests: Sequence[str],
    cache: PictureCache,
    traits: TraitsCache | None,
    hashed: bool,
    most: int,
) -> Iterator[tuple[str, str | None]]:
    """Decode those files that are not kept, and yield each one's digest and, if it is no picture, the reason."""

    def one(file: Asset, digest: str) -> tuple[str, DecodedSquare | str | None, Traits | None]:
        # Of a file whose digest is known it is known, too, whether it is a picture.
        if digest in cache or (digest and full):
            return digest, None, None
        try:
            data = file.read_bytes()
        except OSError as error:
            return "", f"{BROKEN}: {error.strerror or error}", None
        digest = digest_of(data)
        if cache.reason(digest) is not None:
            return digest, None, None
        try:
            result = None if digest in cache or full else decode_sized(data, cache.form, most)
            wanted = (hashed and traits is not None) or (result is None and digest not in cache)
            known = None if traits is None else traits.get(bytes.fromhex(digest))
            known_enough = (
                known is not None and known.pixels <= most
            )  # else found under another limit, perhaps
            return digest, result, traits_of(data, most) if wanted and not known_enough else None
        except Exception as error:  # whatever a decoder raises is why there is no picture
            return digest, f"{why(error)}: {' '.join(str(error).split()) or type(error).__name__}", None

    starts = range(0, len(files), _AT_ONCE)
    with quietly(), ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for start in with_bar(starts, f"Reading {len(files):,} pictures"):
            part, full = slice(start, start + _AT_ONCE), not cache.make_room()
            for digest, result, new_traits in pool.map(one, files[part], digests[part]):
                if not digest:
                    yield "", str(result)
                    continue
                if result is not None:
                    cache.add(digest, result)
                if traits is not None and new_traits is not None:
                    traits.add(bytes.fromhex(digest), new_traits)
                yield digest, cache.reason(digest)


@contextmanager
def quietly() -> Iterator[None]:
    """Let Pillow warn of nothing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a picture is in its reason
        yield


def why(error: Exception) -> str:
    """Return the reason why there is no picture, in the same words for all that have it.

    >>> why(ImageTooLargeError("13000 × 13000 pixels")), why(OSError("image file is truncated"))
    ('picture of too many pixels', 'broken picture')
    """
    return next((words for kind, words in _REASONS.items() if isinstance(error, kind)), BROKEN)
