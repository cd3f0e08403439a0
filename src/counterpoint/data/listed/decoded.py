"""Examples from files of one modality, such as sounds: kept in the cache folder where there is room, else read anew."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, final

import numpy as np
from jaxtyping import Int

from ... import files as whole_files
from ...frames import Frames, whole
from ...modalities import MODALITIES, resolve
from ...networks.base import FormedInput, Input
from ..cache import blocks_in, cache_folder, is_idle, last_use, most_bytes, remove_block, writing
from ..progress import with_bar
from ..reading.file_examples import ReadOptions
from ..sources import Asset, digest_of

READER = 3
"""Version of what is kept; raised whenever the same bytes would be read as something else."""
UNREADABLE, BROKEN = "unreadable file", "broken file"
"""The reasons for a file whose bytes cannot be read, and for one that is no example."""
_TOGETHER = 256  # files whose examples are one block: what a kill, or a file that changes, can cost
_THREADS = 16


@final
@dataclass(frozen=True)
class _Block:
    """The examples of some consecutive files, one behind the other along their first axis.

    Attributes:
        path: of the array; None where there was no room for it.
        starts: the first place of each, and the end of the last.
        unreadable: positions within the block, each with the reason.
    """

    path: Path | None
    starts: tuple[int, ...]
    unreadable: dict[int, str]


@final
class DecodedExamples:
    """The examples of some files, mapped from the cache and never in memory as a whole.

    Args:
        files: one example each.
        modality: whose ``read`` and ``pack`` make them a raw form.
        form: in which they are read; see `counterpoint.networks.base.FormedInput`.

    Attributes:
        digests: of each file's bytes; empty for a file that could not be read.
        unreadable: a file's position to why it is no example: a reason, the same words for all that have it, a colon,
            and the details.
        whole: the cache holds every example, so that files which change matter no more.
        hashed: never.

    Raises:
        CacheError: the cache folder has room for some of them and cannot be written.
    """

    squares: ClassVar[bool] = False
    hashed: ClassVar[bool] = False

    def __init__(self, files: Sequence[Asset], modality: str, form: int) -> None:
        self.modality, self.form, self._files = modality, form, files
        self.digests: list[str] = []
        self.unreadable: dict[int, str] = {}
        self._blocks: list[_Block] = []
        self._rest: tuple[int, ...] | None = None  # the axes behind the first, which are the same for all
        self._dtype = np.dtype(np.float32)
        self._mapped: dict[int, np.ndarray] = {}
        self._folder = cache_folder() / "decoded" / f"{modality}-{form}-{READER}"
        whole_files.sweep(self._folder)
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            starts = range(0, len(files), _TOGETHER)
            for start in with_bar(starts, f"Reading {len(files):,} {MODALITIES.get(modality).noun}"):
                self._add(start, list(pool.map(_bytes, files[start : start + _TOGETHER])), pool)
        self.whole = all(block.path is not None for block in self._blocks)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_mapped": {}}  # another process maps the files itself

    @classmethod
    def of(cls, files: Sequence[Asset], modality: str, options: ReadOptions) -> Self:
        return cls(files, modality, MODALITIES.get(modality).form)

    @classmethod
    def form_for(cls, input: Input, *, training: bool) -> int | None:
        """Return the form that an input says; None where it says none."""
        return input.form if isinstance(input, FormedInput) else None

    @property
    def lengths(self) -> Int[np.ndarray, " n"]:
        """The length of each example along its first axis; 0 for a file that is none."""
        return np.concatenate([np.zeros(0, np.int64), *(np.diff(block.starts) for block in self._blocks)])

    def is_flat(self, position: int) -> bool:
        """Return whether a file's example is one and the same place all along, as silence is.

        Raises:
            OSError, ValueError: as for `read`.
        """
        example = self._one(position)
        return len(example) > 1 and np.array_equal(
            example[1:], example[:-1], equal_nan=example.dtype.kind == "f"
        )

    def read(self, positions: Int[np.ndarray, " n"]) -> Any:
        """Return the raw form of some files' examples, by their positions; at −1 a single place of zeros.

        Raises:
            OSError, ValueError: if a file that has to be read now cannot be, or is not what it was.
        """
        return self.pack([self._one(int(position)) for position in positions])

    def cuts(self, positions: Int[np.ndarray, " n"]) -> Frames:
        """Return frames of whole examples: nothing is cut from them."""
        return whole(len(positions))

    def cuts_of(self, examples: Sequence[np.ndarray]) -> Frames:
        """Return frames of whole examples: nothing is cut from them."""
        return whole(len(examples))

    def decode(self, data: bytes) -> np.ndarray:
        """Return the example in the bytes of a further file, which has the channels of these.

        Raises:
            ValueError: if it is none, or has other channels.
        """
        example = self._alike(resolve(MODALITIES.get(self.modality).read)(data, self.form))
        if isinstance(example, str):
            raise ValueError(example)
        return example

    def pack(self, examples: Sequence[np.ndarray]) -> Any:
        """Return decoded examples as one raw form."""
        return resolve(MODALITIES.get(self.modality).pack)(examples, self.form)

    @staticmethod
    def why(error: Exception) -> str:
        """Return the reason why a file is no example, in the same words for all that have it."""
        return UNREADABLE if isinstance(error, OSError) else BROKEN

    def encoded(self, position: int) -> bytes:
        """Return the bytes of a file.

        Raises:
            OSError, ValueError: if it cannot be read, or is not what it was.
        """
        return self._files[position].read_same(self.digests[position])

    def formed(self, form: int) -> DecodedExamples:
        """Return the same examples read in another form.

        Raises:
            ValueError: if a file is not what it was.
        """
        other = DecodedExamples(self._files, self.modality, form)
        for file, before, now in zip(self._files, self.digests, other.digests, strict=True):
            if before != now:
                raise ValueError(f"{file} changed while it was in use: run the same command again")
        return other

    def _one(self, position: int) -> np.ndarray:
        if position < 0:
            return np.zeros((1, *(self._rest or ())), self._dtype)
        number, row = divmod(position, _TOGETHER)
        block = self._blocks[number]
        if block.path is not None and number not in self._mapped:
            with suppress(OSError, ValueError):  # removed since
                self._mapped[number] = np.load(block.path, mmap_mode="r")
        if number in self._mapped:
            return self._mapped[number][block.starts[row] : block.starts[row + 1]]
        return self.decode(self.encoded(position))

    def _add(self, start: int, contents: Sequence[bytes | str], pool: ThreadPoolExecutor) -> None:
        """Take in the examples of some files: from the cache, or read now and kept there if there is room."""
        digests = [digest_of(data) if isinstance(data, bytes) else "" for data in contents]
        name = digest_of("".join(digests).encode())
        block = _cached(self._folder / f"{name}.json", self._rest) or self._write(name, contents, pool)
        if self._rest is None and block.path is not None:
            kept = np.load(block.path, mmap_mode="r")
            self._rest, self._dtype = kept.shape[1:], kept.dtype
        self._blocks.append(block)
        self.unreadable |= {start + row: reason for row, reason in block.unreadable.items()}
        self.digests += digests

    def _alike(self, result: np.ndarray | str) -> np.ndarray | str:
        """Return what was read, or why it cannot stand beside what was read first."""
        if isinstance(result, str):
            return result
        if self._rest is None:
            self._rest, self._dtype = result.shape[1:], result.dtype
        if result.shape[1:] == self._rest:
            return result
        return f"other channels: {result.shape[1:]} where the first file has {self._rest}"

    def _write(self, name: str, contents: Sequence[bytes | str], pool: ThreadPoolExecutor) -> _Block:
        read = resolve(MODALITIES.get(self.modality).read)

        def one(data: bytes | str) -> np.ndarray | str:
            if isinstance(data, str):
                return data
            if not data:
                return f"{BROKEN}: the file is empty"
            try:
                decoded: np.ndarray = read(data, self.form)
            except ValueError as error:
                return f"{BROKEN}: {' '.join(str(error).split())}"
            return decoded

        results = list(map(self._alike, pool.map(one, contents)))
        arrays = [result for result in results if not isinstance(result, str)]
        unreadable = {row: result for row, result in enumerate(results) if isinstance(result, str)}
        lengths = [0 if isinstance(result, str) else len(result) for result in results]
        starts = (0, *np.cumsum(lengths, dtype=np.int64).tolist())
        if not arrays or not _has_room(self._folder.parent, sum(array.nbytes for array in arrays)):
            return _Block(None, starts, unreadable)
        with writing(self._folder / f"{name}.npy") as part, part.open("wb") as file:
            np.save(file, np.concatenate(arrays))
        with writing(self._folder / f"{name}.json") as part:  # last: what it does not speak of is not there
            part.write_text(json.dumps({"starts": starts, "unreadable": list(unreadable.items())}))
        return _Block(self._folder / f"{name}.npy", starts, unreadable)


def _bytes(file: Asset) -> bytes | str:
    """Return the bytes of a file, or why it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        return f"{UNREADABLE}: {error.strerror or error}"


def _cached(path: Path, rest: tuple[int, ...] | None) -> _Block | None:
    """Return a block of the cache, and note its use; None where it is not there, not whole, or of other channels."""
    try:
        metadata = json.loads(path.read_text())
        starts = tuple(metadata["starts"])
        values = np.load(path.with_suffix(".npy"), mmap_mode="r")
        if len(values) != starts[-1] or values.shape[1:] != (values.shape[1:] if rest is None else rest):
            return None
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return _Block(path.with_suffix(".npy"), starts, dict(map(tuple, metadata["unreadable"])))


def _has_room(folder: Path, size: int) -> bool:
    """Return whether there is room for so many bytes, for which blocks that nobody used for a day are removed."""
    blocks = blocks_in(folder)
    room = most_bytes() - sum(blocks.values())
    for path in sorted(blocks, key=last_use):
        if room >= size or not is_idle(path):
            break
        room += blocks[path] * remove_block(path)
    return room >= size
