"""The one form that every source is read into."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, final, overload, runtime_checkable

import polars as pl

CAPTION_COLUMNS = ("text", "caption", "captions", "title")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    "test": "test",
}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".svg"}

LABEL = "label: "
"""Beginning of the names of those columns of `Records.frame` that are the user's own, with whatever name."""

_SCHEMA: dict[str, Any] = {
    "file": pl.String,
    "member": pl.String,
    "offset": pl.Int64,
    "size": pl.Int64,
    "captions": pl.List(pl.String),
    "key": pl.String,
    "id": pl.String,
    "split": pl.String,
    "where": pl.String,
}
_BLOCK = 20_000  # records that are Python objects at once


def split_of(name: str) -> str | None:
    """Return the split that a file's or a folder's name begins with.

    >>> split_of("val-00000-of-00002.parquet"), split_of("trainable.csv"), split_of("Test")
    ('validation', None, 'test')
    """
    word = re.split(r"[^a-z]", name.lower(), maxsplit=1)[0]
    return SPLITS.get(word)


@runtime_checkable
class StoredFile(Protocol):
    """The bytes of a file: a path, a member of an archive. As a text it is the name that the user knows."""

    def read_bytes(self) -> bytes:
        """Read the whole file."""
        ...


@dataclass(frozen=True)
class Member:
    """A file within a tar file."""

    archive: Path
    name: str
    offset: int
    size: int

    def read_bytes(self) -> bytes:
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def __str__(self) -> str:
        return f"{self.archive}:{self.name}"


@dataclass(frozen=True)
class Cell:
    """A picture within a Parquet table: a row (from 0) of a column of bytes, or of structs with a field of them."""

    table: Path
    column: str
    row: int

    def read_bytes(self) -> bytes:
        try:
            return _cells(self.table, self.column, self.row // _CELLS)[self.row % _CELLS]
        except pl.exceptions.PolarsError as error:
            raise OSError(f"a damaged table: {error}") from error

    def __str__(self) -> str:
        return f"{self.table}, row {self.row + 1}"


_CELLS = 64


@lru_cache(maxsize=64)
def _cells(table: Path, column: str, block: int) -> list[bytes]:
    """Read a block of pictures, so that pictures that are read in order are not sought one by one."""
    frame = pl.scan_parquet(table, glob=False).select(column).slice(block * _CELLS, _CELLS).collect()
    cells = frame[column]
    return (cells if cells.dtype == pl.Binary else cells.struct.field("bytes")).to_list()


@dataclass(frozen=True)
class Record:
    """One picture with its captions: the schema every source is read into.

    Attributes:
        picture: where its bytes are.
        captions: one or more; none where a source is of pictures alone.
        key: what the user calls it: an id, a file's name.
        id: the id that the user gave, None where there is none.
        split: ``"train"``, ``"validation"``, ``"test"``, or None.
        labels: values by which it may be classified.
        where: the file and the row that it was read from, for messages.
    """

    picture: StoredFile
    captions: tuple[str, ...]
    key: str
    id: str | None = None
    split: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


@final
class Records(Sequence[Record]):
    """Many records, column by column: a million take a tenth of the memory that as many objects would.

    Attributes:
        frame: a row a record: ``file`` and, for a picture within an archive or a table, ``member`` (its name, or
            the column), ``offset`` (in bytes, or the row) and ``size`` (in bytes; none in a table); ``captions``,
            ``key``, ``id``, ``split``, ``where``; and `LABEL` and a name for each label, all as text.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    @classmethod
    def collect(cls, records: Iterable[Record]) -> Records:
        """Read records block by block."""
        each, blocks = iter(records), [pl.DataFrame(schema=_SCHEMA)]
        while block := list(islice(each, _BLOCK)):
            blocks.append(_frame(block))
        return cls(pl.concat(blocks, how="diagonal"))

    @classmethod
    def concat(cls, parts: Sequence[Records]) -> Records:
        """Put records one after the other."""
        return cls(pl.concat([pl.DataFrame(schema=_SCHEMA), *(p.frame for p in parts)], how="diagonal"))

    @property
    def captioned(self) -> bool:
        """Return whether any record has a caption."""
        return bool((self.frame["captions"].list.len() > 0).any())

    def labels(self) -> dict[str, pl.Series]:
        """Return the columns by which records may be classified."""
        return {n.removeprefix(LABEL): self.frame[n] for n in self.frame.columns if n.startswith(LABEL)}

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[Record]:
        return (_record(values) for values in self.frame.iter_rows(named=True))

    @overload
    def __getitem__(self, position: int) -> Record: ...
    @overload
    def __getitem__(self, position: slice) -> Records: ...
    def __getitem__(self, position: int | slice) -> Record | Records:
        if isinstance(position, slice):
            return Records(self.frame[position])
        return _record(self.frame.row(position, named=True))

    @property
    def files(self) -> Sequence[StoredFile]:
        """The pictures, each made when it is asked for."""
        return _Files(self.frame.select("file", "member", "offset", "size"))


class _Files(Sequence[StoredFile]):
    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __len__(self) -> int:
        return len(self._frame)

    def __iter__(self) -> Iterator[StoredFile]:
        return (_file(*row) for row in self._frame.iter_rows())

    @overload
    def __getitem__(self, position: int) -> StoredFile: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[StoredFile]: ...
    def __getitem__(self, position: int | slice) -> StoredFile | Sequence[StoredFile]:
        if isinstance(position, slice):
            return _Files(self._frame[position])
        return _file(*self._frame.row(position))


def _file(file: str, member: str | None, offset: int | None, size: int | None) -> StoredFile:
    if member is None:
        return Path(file)
    assert offset is not None
    return Cell(Path(file), member, offset) if size is None else Member(Path(file), member, offset, size)


def _record(values: Mapping[str, Any]) -> Record:
    labels = {n.removeprefix(LABEL): v for n, v in values.items() if n.startswith(LABEL) and v is not None}
    return Record(
        _file(values["file"], values["member"], values["offset"], values["size"]),
        tuple(values["captions"]),
        values["key"],
        values["id"],
        values["split"],
        labels,
        values["where"],
    )


def _frame(records: Sequence[Record]) -> pl.DataFrame:
    rows = []
    for record in records:
        stored: dict[str, Any] = (
            {"file": os.fspath(record.picture)} if isinstance(record.picture, Path) else {}
        )
        if isinstance(record.picture, Member):
            member = record.picture
            stored = {"file": os.fspath(member.archive), "member": member.name}
            stored |= {"offset": member.offset, "size": member.size}
        rows.append(
            stored
            | {"captions": list(record.captions), "key": record.key, "id": record.id}
            | {"split": record.split, "where": record.where}
            | {LABEL + name: value for name, value in record.labels.items()}
        )
    names = {name: None for row in rows for name in row}
    return pl.DataFrame(rows, schema={name: _SCHEMA.get(name, pl.String()) for name in names})
