"""Decoded pictures in the cache folder, of bounded size, in blocks that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, final

import numpy as np
import PIL
from jaxtyping import UInt8

from ... import files
from ...types import Fit
from ..cache import blocks_in, cache_folder, is_idle, last_use, most_bytes, remove_block, writing
from .decode import DECODER, MOST_PIXELS, DecodedSquare, side_of

_BYTES = 2**26  # of the pixels of a block: what waits in memory, and what a kill can cost
_NOWHERE = (-1, -1)


@final
@dataclass(frozen=True)
class CacheBlock:
    """A file of pictures ``(n, 3, size, size)``, and beside it a JSON file that says what it holds.

    Attributes:
        folder: where the two files are.
        size: side of the pictures in pixels.
        digests: of the files that the pictures were decoded from, in the order of the rows.
        sizes: height and width in pixels of the upright picture of each.
        unreadable: digests of files that are no pictures, with the reason.
        pillow: the version that found them so.
        check: digest of the pixels.
        modified: when they were written, in ns; while that stays so, they are not read to be checked.
    """

    folder: Path
    size: int
    digests: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    unreadable: dict[str, str]
    pillow: str
    check: str
    modified: int = 0

    @property
    def path(self) -> Path:
        """The file of the pictures, named after them: two processes that do the same work write the same file."""
        named = "".join([*self.digests, *self.unreadable])
        return self.folder / f"{hashlib.blake2b(named.encode(), digest_size=12).hexdigest()}.npy"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all its pictures together."""
        return (len(self.digests), 3, self.size, self.size)

    @classmethod
    def write(
        cls, folder: Path, size: int, pictures: Mapping[str, DecodedSquare], unreadable: dict[str, str]
    ) -> CacheBlock:
        """Write a block, the pictures first: what no JSON file speaks of is not there.

        Raises:
            CacheError: the folder cannot be written.
        """
        array = np.array([it.pixels for it in pictures.values()], np.uint8).reshape(-1, 3, size, size)
        sizes = tuple((it.height, it.width) for it in pictures.values())
        block = cls(folder, size, tuple(pictures), sizes, unreadable, PIL.__version__, _check(array))
        with writing(block.path) as part, part.open("wb") as file:
            np.save(file, array)
        block = replace(block, modified=block.path.stat().st_mtime_ns)
        with writing(block.path.with_suffix(".json")) as part:
            part.write_text(block._as_json(), encoding="utf-8")
        return block

    @classmethod
    def read(cls, path: Path) -> CacheBlock | None:
        """Read what a JSON file says; None where it is damaged, or the pictures are not those that it speaks of."""
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            sizes = tuple((height, width) for height, width in plain["sizes"])
            block = cls(path.parent, **{**plain, "digests": tuple(plain["digests"]), "sizes": sizes})
            if len(block.sizes) != len(block.digests):
                return None
            pixels, modified = mapped(block.path, block.shape), block.path.stat().st_mtime_ns
            whole_second = block.modified // 10**9 * 10**9  # all that an archive or an image of a disk keeps
            if modified not in (block.modified, whole_second):  # copied, restored, or changed
                if _check(pixels) != block.check:
                    return None
                block = replace(block, modified=modified)
                with suppress(OSError):
                    files.write_text(path, block._as_json())
        except Exception:  # whatever is wrong with them, these pictures are decoded again
            return None
        return block

    def _as_json(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if name != "folder"})


@final
class PictureCache:
    """All pictures of one form and limit that the cache holds, by the digest of the file each was decoded from.

    Within a ``with`` block pictures are added; they are written whenever a block is full and at the end, also when the
    user stops the work. Pictures of all forms take as many bytes as `counterpoint.data.cache.most_bytes` says; where
    there is no room left, blocks that nobody used for a day go first, and then no more pictures are kept.
    """

    def __init__(self, form: int | Fit, most_pixels: int = MOST_PIXELS) -> None:
        self.form, self.size = form, side_of(form)
        limit = "" if most_pixels == MOST_PIXELS else f"-{most_pixels}"
        self.folder = cache_folder() / "pictures" / f"{self.size}-{DECODER}{_way(form)}{limit}"
        self.blocks: list[CacheBlock] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._unreadable: dict[str, str] = {}
        self._new: dict[str, DecodedSquare] = {}
        self._new_unreadable: dict[str, str] = {}
        files.sweep(self.folder)
        for path in sorted(self.folder.glob("*.json")):
            block = CacheBlock.read(path)
            if block is not None:
                self._take(block)
        self._used: set[int] = set()
        there = blocks_in(self.folder.parent)
        self._room = most_bytes() - sum(there.values())
        self._idle = deque(sorted(filter(is_idle, there), key=last_use))

    def __contains__(self, digest: str) -> bool:
        return digest in self._places or digest in self._unreadable

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception):
            self._write()

    def make_room(self) -> bool:
        """Delete blocks that nobody used for a day until one more picture fits, and return whether it does."""
        while self._room < 3 * self.size**2 and self._idle:
            self._give_up(self._idle.popleft())
        return self._room >= 3 * self.size**2

    def locate(self, digest: str) -> tuple[int, int]:
        """Return the number of the block that holds a picture, and its row there, and note its use; −1, −1 for none."""
        position = self._places.get(digest, _NOWHERE)
        if position != _NOWHERE and position[0] < len(self.blocks):
            self._use(position[0])
        return position

    def reason(self, digest: str) -> str | None:
        """Return why a file is no picture; None where it is one."""
        return self._unreadable.get(digest)

    def size_of(self, digest: str) -> tuple[int, int]:
        """Return the height and the width of the upright picture of a file; 0, 0 for one that is not held."""
        number, row = self._places.get(digest, _NOWHERE)
        return self.blocks[number].sizes[row] if 0 <= number < len(self.blocks) else (0, 0)

    def add(self, digest: str, result: DecodedSquare | str) -> None:
        """Keep a picture, or the reason why there is none.

        Raises:
            CacheError: the cache folder cannot be written.
        """
        if digest in self:
            return
        if isinstance(result, str):
            self._unreadable[digest] = self._new_unreadable[digest] = result
            return
        self._room -= result.pixels.nbytes
        self._places[digest] = (len(self.blocks), len(self._new))
        self._new[digest] = result
        if len(self._new) * result.pixels.nbytes >= _BYTES:
            self._write()

    def _write(self) -> None:
        if self._new or self._new_unreadable:
            self._take(CacheBlock.write(self.folder, self.size, self._new, self._new_unreadable))
            self._new, self._new_unreadable = {}, {}

    def _use(self, number: int) -> None:
        """Note that a block is in use, on the disk too."""
        if number not in self._used:
            self._used.add(number)
            with suppress(OSError):
                os.utime(self.blocks[number].path.with_suffix(".json"))

    def _give_up(self, path: Path) -> None:
        """Remove a block for others, unless somebody has begun to use it."""
        size = _size(path)
        if is_idle(path) and remove_block(path):
            self._room += size
        if not path.exists():
            gone = {number for number, block in enumerate(self.blocks) if block.path == path}
            self._places = {
                digest: position for digest, position in self._places.items() if position[0] not in gone
            }

    def _take(self, block: CacheBlock) -> None:
        self._places |= {digest: (len(self.blocks), row) for row, digest in enumerate(block.digests)}
        if block.pillow == PIL.__version__:  # another one may read what this one could not
            self._unreadable |= block.unreadable
        self.blocks.append(block)


def mapped(path: Path, shape: tuple[int, ...]) -> UInt8[np.ndarray, "n 3 h w"]:
    """Map the pictures of a file, read-only.

    Raises:
        OSError, ValueError: if it is not there, or holds something else.
    """
    pixels: np.ndarray = np.load(path, mmap_mode="r" if shape[0] else None)
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise ValueError(f"{path} holds other pictures than {shape}")
    return pixels


def _size(path: Path) -> int:
    """Return the bytes of a file; 0 where it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _way(form: int | Fit) -> str:
    """Return what a folder is called beyond the side of its pictures."""
    if not isinstance(form, Fit):
        return ""
    border = f"-{bytes(form.fill).hex()}" if form.resize == "longest" else ""
    others = "".join(f"-{it}" for it in (form.resizer, form.half) if it not in ("pillow", "even"))
    return f"-{form.resize}-{form.interpolation}-{form.size}{border}{others}"


def _check(pixels: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).hexdigest()
