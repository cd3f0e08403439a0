"""Pictures from files: decoded once, to squares of one size, and kept in the cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from .cache import cache_folder, writing
from .decode import decode
from .sources import StoredFile


@final
@dataclass(frozen=True, eq=False)
class Pictures:
    """The decoded pictures of some files.

    Attributes:
        size: side of the pictures in pixels.
        digests: of each file's bytes; empty for a file that could not be read.
        unreadable: a file's position to why it is no picture.
    """

    size: int
    digests: Sequence[str]
    unreadable: Mapping[int, str]
    _pixels: np.ndarray

    @classmethod
    def of(cls, files: Sequence[StoredFile], size: int) -> Pictures:
        """Read the files, and decode those that the cache does not hold.

        Raises:
            CacheError: the cache folder cannot be written.
        """
        digests: list[str] = [""] * len(files)
        unreadable: dict[int, str] = {}

        def digest(index: int) -> None:
            try:
                digests[index] = hashlib.blake2b(files[index].read_bytes(), digest_size=16).hexdigest()
            except OSError as error:
                unreadable[index] = error.strerror or str(error)

        with ThreadPoolExecutor() as pool:
            list(pool.map(digest, range(len(files))))
        key = hashlib.blake2b("".join([str(size), *digests]).encode(), digest_size=12).hexdigest()
        path = cache_folder() / "pairs" / f"{key}.npy"
        if path.exists() and not unreadable:
            return cls(size, digests, unreadable, np.load(path, mmap_mode="r+"))
        pictures = np.zeros((len(files), 3, size, size), dtype=np.uint8)

        def keep(index: int) -> None:
            if index in unreadable:
                return
            try:
                pictures[index] = decode(files[index].read_bytes(), size)
            except Exception as error:
                unreadable[index] = str(error)

        with ThreadPoolExecutor() as pool:
            list(pool.map(keep, range(len(files))))
        if not unreadable:
            with writing(path) as part, part.open("wb") as file:
                np.save(file, pictures)
        return cls(size, digests, unreadable, pictures)

    def images(self, positions: Int[np.ndarray, " n"]) -> UInt8[Tensor, "n 3 size size"]:
        """Return the pictures of some files by their positions."""
        return torch.from_numpy(self._pixels[positions])
