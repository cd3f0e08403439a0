"""Pictures of a benchmark, decoded when they are asked for: files, or a column of Parquet files."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np
import polars as pl
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from ...types import Fit
from ..pictures.decode import fitted, side_of, square

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

_BLOCK = 64  # rows of a Parquet file that are read together


class NumberedPictures(ABC):
    """Numbered pictures."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, number: int) -> str:
        """Return the name by which an error calls a picture."""

    @abstractmethod
    def open(self, number: int) -> Image.Image:
        """Return one picture, as it is stored."""

    def squares(self, numbers: Int[np.ndarray, " k"], form: int | Fit) -> UInt8[Tensor, "k 3 side side"]:
        """Return some pictures as RGB squares of a side (its shorter one, centre crop), or by a tower's fit.

        Raises:
            ValueError: for a picture that cannot be read; the message names it.
        """

        def decode(number: int) -> np.ndarray:
            try:
                picture = self.open(number)
                return fitted(picture, form) if isinstance(form, Fit) else square(picture, form)
            except Exception as error:  # whatever a decoder raises, told with the name of the picture
                raise ValueError(f"{self.name(number)} cannot be read as a picture: {error}") from error

        squares = np.zeros((len(numbers), 3, side_of(form), side_of(form)), dtype=np.uint8)
        with ThreadPoolExecutor() as pool:
            for index, pixels in enumerate(pool.map(decode, numbers.tolist())):
                squares[index] = pixels
        return torch.from_numpy(squares)


@final
class PictureFiles(NumberedPictures):
    """Picture files, or parts of them.

    Args:
        paths: the files; all must exist.
        crops: the part of each that is meant; the whole where it is None.
        advice: where an error says the pictures belong.

    Raises:
        FileNotFoundError: if some are not there.
    """

    def __init__(
        self, paths: Sequence[Path], crops: Sequence[Box | None] | None = None, advice: str = ""
    ) -> None:
        missing = [path for path in dict.fromkeys(paths) if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(set(paths))} pictures are not there, first {missing[0]}"
                + (f": {advice}" if advice else "")
            )
        self._paths, self._crops = paths, crops

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, number: int) -> str:
        return str(self._paths[number])

    def open(self, number: int) -> Image.Image:
        picture = Image.open(io.BytesIO(self._paths[number].read_bytes()))
        crop = None if self._crops is None else self._crops[number]
        return picture if crop is None else picture.crop(crop)


@final
class ParquetPictures(NumberedPictures):
    """A column of Parquet files in the layout of Hugging Face datasets: structs with ``bytes``.

    Args:
        files: the shards, in order.
        column: its name.
        rows: rows of all shards together that are meant; all unless given.
    """

    def __init__(self, files: Sequence[Path], column: str, rows: Int[np.ndarray, " n"] | None = None) -> None:
        lengths = [pl.scan_parquet(file, glob=False).select(pl.len()).collect().item() for file in files]
        self._files, self._column = list(files), column
        self._starts = np.cumsum([0, *lengths])
        self._rows = np.arange(self._starts[-1]) if rows is None else rows
        self._block = lru_cache(maxsize=4)(self._read)

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, number: int) -> str:
        file, row = self._file_and_row(number)
        return f"{self._files[file]}, row {row + 1}, {self._column}"

    def open(self, number: int) -> Image.Image:
        file, row = self._file_and_row(number)
        stored = self._block(file, row // _BLOCK)[row % _BLOCK]
        if stored is None:
            raise ValueError("there is none")
        return Image.open(io.BytesIO(stored["bytes"]))

    def _file_and_row(self, number: int) -> tuple[int, int]:
        row = int(self._rows[number])
        file = int(np.searchsorted(self._starts, row, side="right")) - 1
        return file, row - int(self._starts[file])

    def _read(self, file: int, block: int) -> list[dict[str, Any] | None]:
        part = (
            pl.scan_parquet(self._files[file], glob=False).select(self._column).slice(block * _BLOCK, _BLOCK)
        )
        return part.collect()[self._column].to_list()
