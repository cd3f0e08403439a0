"""Sources of pairs: each recognises what the user wrote, and reads it as records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

from ...registry import Room
from ._ledger import TOLERANCE, Ledger
from ._record import PICTURES, Cell, Member, Record, Records, StoredFile, split_of
from ._source import Source
from .folder import Folder
from .table import Table

__all__ = [
    "SOURCES",
    "TOLERANCE",
    "Cell",
    "Ledger",
    "Member",
    "Record",
    "Records",
    "Source",
    "StoredFile",
    "read",
    "readers",
]

SOURCES = Room("source", __name__)
"""Kinds of files and folders that hold pairs; each class has ``suffixes`` and ``read(path, ledger)``."""

_TABLES = {"metadata", "captions", "data"}  # names of a table that describes its folder


Reader = Callable[[Path, Ledger], Records]


@dataclass(frozen=True)
class Part:
    """A place that one reader reads, and the split that its name says."""

    place: Path
    reader: Reader
    split: str | None = None


def read(source: Path, ledger: Ledger) -> Records:
    """Read a folder, a table or a shard.

    Args:
        source: the path; see `parts` for what is recognised.
        ledger: is told what is left out.

    Raises:
        ValueError: if the source is none of these, or its parts cannot be read.
    """
    pieces = parts(source, ledger)
    records = [_read(part, ledger) for part in pieces]
    if len(pieces) > 1:
        records = _told_apart(pieces, records)
    return Records.concat(records)


def parts(source: Path, ledger: Ledger) -> Sequence[Part]:
    """Recognise a source.

    A folder holds, in this order of precedence: a table called ``metadata``, ``captions`` or ``data``; tables called
    after splits (``train.csv``, ``test-00000-of-00002.parquet``), here or in ``data``; other Parquet files; folders
    called after splits (``train``, ``test``, ``val`` …), each with anything that a folder may hold; tar shards;
    pictures with a text beside each.

    Raises:
        ValueError: if it is none of these.
    """
    if source.is_dir():
        return _of_folder(source, ledger)
    files = readers()
    if source.suffix.lower() in files:
        return [Part(source, files[source.suffix.lower()].read)]
    raise ValueError(f"{source}: expected a folder or one of {', '.join(sorted(files))}")


def _of_folder(source: Path, ledger: Ledger) -> Sequence[Part]:
    entries = sorted(p for p in source.iterdir() if not p.name.startswith("."))
    tables = [p for p in entries if p.suffix.lower() in Table.suffixes and not p.is_dir()]
    described = [p for p in tables if p.stem in _TABLES]
    if described:
        return _alone([Part(described[0], Table().read)], tables, ledger)
    data = source / "data"
    inner = sorted(p for p in data.iterdir() if p.suffix.lower() in Table.suffixes) if data.is_dir() else []
    for files in (tables, inner):
        named = [Part(p, Table().read, side) for p in files if (side := split_of(p.stem))]
        whole = [Part(p, Table().read) for p in files if p.suffix.lower() == ".parquet"]
        if named or whole:
            return _alone(named or whole, files, ledger)
    others = {suffix: other for suffix, other in readers().items() if suffix not in Table.suffixes}
    folders = [p for p in entries if p.is_dir()]
    sides = [Part(p, read, side) for p in folders if p.name.isalpha() and (side := split_of(p.name))]
    if any(part.split != "train" for part in sides):
        return _alone(
            sides, [p for p in entries if p.is_dir() or p.suffix.lower() in {*others, *PICTURES}], ledger
        )
    for suffix, other in others.items():
        if any(source.glob(f"*{suffix}")):
            return [Part(source, other.read)]
    return [Part(source, Folder().read)]


def _alone(taken: Sequence[Part], entries: Sequence[Path], ledger: Ledger) -> Sequence[Part]:
    """Enter into the ledger what lies beside the parts that are read."""
    for path in entries:
        if path not in {part.place for part in taken}:
            ledger.add("passed over", "beside what is read", path)
    return taken


@cache
def readers() -> dict[str, Source]:
    """Return the source that reads the files of each suffix."""
    sources: list[Source] = [SOURCES.get(name)() for name in SOURCES.names()]
    return {suffix: source for source in sources for suffix in sorted(source.suffixes)}


def _read(part: Part, ledger: Ledger) -> Records:
    records = part.reader(part.place, ledger)
    if part.split is None:
        return records
    other = records.frame.filter(pl.col("split") != part.split).head(1)
    for where, split in other.select("where", "split").iter_rows():
        raise ValueError(f"{where}: split {split!r}, but {part.place} is of {part.split}")
    return Records(records.frame.with_columns(split=pl.lit(part.split)))


def _told_apart(pieces: Sequence[Part], records: Sequence[Records]) -> list[Records]:
    """Return records whose ids are there once: where parts count their rows anew, the part's name goes before."""
    identities = pl.concat([each.frame["id"] for each in records]).drop_nulls()
    if identities.n_unique() == len(identities):
        return list(records)
    return [
        Records(
            each.frame.with_columns(
                pl.when(pl.col("id").is_not_null())
                .then(pl.lit(f"{part.place.stem}/") + pl.col(name))
                .alias(name)
                if name == "id"
                else (pl.lit(f"{part.place.stem}/") + pl.col(name)).alias(name)
                for name in ("id", "key")
            )
        )
        for part, each in zip(pieces, records, strict=True)
    ]
