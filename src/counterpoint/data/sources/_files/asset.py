"""The place where bytes are, which are read when they are asked for and never decoded before."""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Self, final

import numpy as np
import polars as pl

from .locations import is_url, part_of, sought, suffix_of

if TYPE_CHECKING:
    import pyarrow as pa

_CELLS = 64


@final
@dataclass(frozen=True)
class Asset:
    """A place where bytes are: a file, a part of a file, or a cell of a table. Its text is what users know.

    Attributes:
        file: the path or the URL of a file; of a record of PhysioNet that of its header, which is read as the bytes of
            an ``.npy`` file.
        member: the name within an archive, or the column of a table: of bytes or structs with them, or of lists of
            numbers, which are read as the bytes of an ``.npy`` file.
        offset: the first byte in an archive, or the row of a table, of JSON the line, from 0.
        size: in bytes; none for a whole file and for a cell.

    >>> print(Asset("shard.tar", "7.png", 512, 90), Asset("pairs.parquet", "image", 7), sep="; ")
    shard.tar:7.png; pairs.parquet, row 8, column image
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
            return _record(self.file) if suffix_of(self.file) == ".hea" else part_of(self.file)
        if self.size is not None:
            return part_of(self.file, self.offset, self.size)
        assert self.member is not None
        import pyarrow as pa

        try:
            if is_url(self.file):
                return _cell_of(self.file, self.member, self.offset)
            return _cells(self.file, self.member, self.offset // _CELLS)[self.offset % _CELLS]
        except (pl.exceptions.PolarsError, pa.ArrowException) as error:
            raise OSError(f"a damaged table: {error}") from error

    def read_same(self, digest: str) -> bytes:
        """Read all of it again.

        Args:
            digest: of the bytes when they were first read; see `digest_of`.

        Raises:
            OSError: if it cannot be read.
            ValueError: if it is not what it was.
        """
        data = self.read_bytes()
        if digest_of(data) != digest:
            raise ValueError(f"{self} changed while it was in use: run the same command again")
        return data

    def __str__(self) -> str:
        if self.offset is None:
            return self.file
        if self.size is None:
            return f"{self.file}, row {self.offset + 1}, column {self.member}"
        return f"{self.file}:{self.member}"


def digest_of(data: bytes) -> str:
    """Return the digest that tells a file's bytes from others."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@lru_cache(maxsize=64)
def _cells(table: str, column: str, block: int) -> list[bytes]:
    """Read a block of cells, so that those that are read in order are not sought one by one."""
    if suffix_of(table) in (".jsonl", ".ndjson"):
        return [
            _array_bytes(row.get(column)) if isinstance(row, dict) else b""
            for row in map(json.loads, _lines(table, block * _CELLS))
        ]
    if suffix_of(table) == ".arrow":
        part = arrow_file(table).select([column]).slice(block * _CELLS, _CELLS)
        return _bytes(pl.DataFrame(pl.from_arrow(part))[column])
    frame = pl.scan_parquet(table, glob=False).select(column).slice(block * _CELLS, _CELLS).collect()
    return _bytes(frame[column])


@lru_cache(maxsize=64)
def arrow_file(path: str) -> pa.Table:
    """Return the table in an Arrow file of `datasets`, mapped and not read."""
    import pyarrow as pa

    return pa.ipc.open_stream(pa.memory_map(path)).read_all()


def _cell_of(table: str, column: str, row: int) -> bytes:
    """Read a cell of a table in a store: with all of its group of rows, which comes in one request."""
    for group, count in enumerate(_groups(table)):
        if row < count:
            return _group(table, column, group)[row]
        row -= count
    raise OSError("a damaged table: it has fewer rows than before")


@lru_cache(maxsize=1024)
def _groups(table: str) -> list[int]:
    from pyarrow import parquet

    with sought(table) as file:
        metadata = parquet.ParquetFile(file).metadata
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


@lru_cache(maxsize=4)
def _group(table: str, column: str, group: int) -> list[bytes]:
    from pyarrow import parquet

    with sought(table) as file:
        cells = parquet.ParquetFile(file).read_row_group(group, columns=[column])
    return _bytes(pl.DataFrame(pl.from_arrow(cells))[column])


def _bytes(cells: pl.Series) -> list[bytes]:
    if isinstance(cells.dtype, pl.List | pl.Array):
        return [_array_bytes(cell) for cell in cells.to_list()]
    return (cells if cells.dtype == pl.Binary else cells.struct.field("bytes")).fill_null(b"").to_list()


def _record(header: str) -> bytes:
    """Read a record of PhysioNet, which is several files."""
    from ...reading.recordings import read_record

    return _array_bytes(read_record(header))


def _array_bytes(cell: object) -> bytes:
    """Return a list of numbers, or of lists of such, as the bytes of an ``.npy`` file; null is NaN.

    Anything else, and lists of different lengths, become the bytes of JSON, which its reader refuses.
    """
    try:
        array = np.asarray(cell, dtype=np.float64)
    except (TypeError, ValueError):
        return json.dumps(cell, default=str).encode()
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _lines(path: str, start: int) -> list[bytes]:
    """Return some consecutive lines of a text of JSON; blank ones as null."""
    starts = _line_starts(path)[start : start + _CELLS + 1]
    with open(path, "rb") as file:
        file.seek(starts[0])
        lines = [file.read(end - begin).strip() for begin, end in pairwise(starts)]
    return [line.removeprefix(codecs.BOM_UTF8) or b"null" for line in lines]


@lru_cache(maxsize=8)
def _line_starts(path: str) -> list[int]:
    """Return where the lines of a file begin, and the last one ends."""
    with open(path, "rb") as file:
        return list(accumulate((len(line) for line in file), initial=0))
