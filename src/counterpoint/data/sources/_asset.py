"""The place where bytes are, which are read when they are asked for and never decoded before."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self, final

import polars as pl

_CELLS = 64


@final
@dataclass(frozen=True)
class Asset:
    """A place where bytes are: a file, a part of a file, or a cell of a Parquet table. Its text is what users know.

    Attributes:
        file: the file.
        member: the name within an archive, or the column of a table: of bytes, or of structs with a field of them.
        offset: the first byte in an archive, or the row of a table, from 0.
        size: in bytes; none for a whole file and for a cell.

    >>> print(Asset("shard.tar", "7.png", 512, 90), Asset("pairs.parquet", "image", 7), sep="; ")
    shard.tar:7.png; pairs.parquet, row 8
    """

    file: str
    member: str | None = None
    offset: int | None = None
    size: int | None = None

    @classmethod
    def of(cls, file: str | os.PathLike[str]) -> Self:
        """Return a whole file."""
        return cls(os.fspath(file))

    def read_bytes(self) -> bytes:
        """Read all of it.

        Raises:
            OSError: if it cannot be read.
        """
        if self.offset is None:
            return Path(self.file).read_bytes()
        if self.size is not None:
            with open(self.file, "rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        assert self.member is not None
        try:
            return _cells(self.file, self.member, self.offset // _CELLS)[self.offset % _CELLS]
        except pl.exceptions.PolarsError as error:
            raise OSError(f"a damaged table: {error}") from error

    def __str__(self) -> str:
        if self.offset is None:
            return self.file
        return f"{self.file}, row {self.offset + 1}" if self.size is None else f"{self.file}:{self.member}"


@lru_cache(maxsize=64)
def _cells(table: str, column: str, block: int) -> list[bytes]:
    """Read a block of cells, so that those that are read in order are not sought one by one."""
    frame = pl.scan_parquet(table, glob=False).select(column).slice(block * _CELLS, _CELLS).collect()
    cells = frame[column]
    return (cells if cells.dtype == pl.Binary else cells.struct.field("bytes")).to_list()
