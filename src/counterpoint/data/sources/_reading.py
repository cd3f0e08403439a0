"""From what a user wrote to records: the source that recognises it, its shards, what each holds, all together."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from ...files import read_json
from ...registry import Registry, import_file, named_in_file, unknown
from ._files.locations import seen_from
from ._ledger import Ledger
from ._options import FACTS, SourceOptions, parted
from ._record import Records
from ._source import Shard, Source

SOURCES = Registry("source", __package__ or "")
"""Kinds of places that hold examples, each a `Source`."""

CONVERTED = "converted.json"
"""File that `counterpoint.data.convert` writes first: all shards of the folder by their names, as ``shards``."""

Reader = Callable[[str, Ledger], Records]


@cache
def _sources() -> dict[str, Source]:
    """Return every source by its name, in the order in which they are asked."""
    made: dict[str, Source] = {name: SOURCES.get(name)() for name in SOURCES.names()}
    return dict(sorted(made.items(), key=lambda item: item[1].precedence))


def _named(name: str) -> Source:
    """Return a source by its registered name, or by the file of Python that defines it.

    Raises:
        UnknownNameError: if the file defines none of this name.
    """
    defined = named_in_file(name)
    return _sources()[name] if defined is None else _of_python(*defined, os.stat(defined[0]).st_mtime_ns)


@lru_cache(maxsize=8)
def _of_python(file: Path, symbol: str, written: int) -> Source:
    """Return the source that a file of Python defines, as it was at that time."""
    module = import_file(file)
    sources = {name: value for name, value in vars(module).items() if is_source(value)}
    if symbol not in sources:
        raise unknown(f"source in {file}", symbol, sources)
    return sources[symbol]()


def is_source(value: object) -> bool:
    """Return whether a value is a class of sources that can be made."""
    return isinstance(value, type) and issubclass(value, Source) and not inspect.isabstract(value)


def suffixes() -> list[str]:
    """Return the suffixes of all files that are read."""
    return sorted({suffix for source in _sources().values() for suffix in source.suffixes})


def is_named(written: str) -> bool:
    """Return whether a text is of a source that a word before it names: ``hf:NAME``, ``coco:PATH``."""
    headed = [source for source in _sources().values() if source.head and written.startswith(source.head)]
    return any(source.recognises(written) for source in headed)


def rooted(location: str) -> str:
    """Return a place from the root, be it after the word of its source; a name that is no place as it is.

    >>> rooted("hf:owner/name"), rooted("/data/{000..099}.tar")
    ('hf:owner/name', '/data/{000..099}.tar')
    """
    head = next((s.head for s in _sources().values() if s.head and location.startswith(s.head)), "")
    path = location.removeprefix(head)
    return location if head and not os.path.exists(path) else f"{head}{seen_from('', path)}"


_SHEET = "; save the sheet as .csv"
_INSTEAD = {
    ".zip": "; unpack it and name the folder",
    ".json": "; write an object a line, as .jsonl",
    ".txt": "; a table is .csv or .tsv, and a list of files is written @FILE",
    ".xlsx": _SHEET,
    ".xls": _SHEET,
    ".ods": _SHEET,
}
"""Advice by the suffix of a file that is not read."""


def recognised(written: str, asked: Collection[str] = ()) -> Source:
    """Return the source that reads what a user wrote.

    Args:
        written: by the user, without options.
        asked: names of the options that are given. The first source that takes all of them reads it, or the first of
            all where none does.

    Raises:
        ValueError: if there is none.
    """
    if named_in_file(written) is not None:
        return _named(written)
    first: Source | None = None
    for source in _sources().values():
        if source.recognises(written):
            if source.takes.issuperset(asked):
                return source
            first = first or source
    if first is not None:
        return first
    instead = _INSTEAD.get(Path(written).suffix.lower(), "")
    raise ValueError(f"{written}: expected a folder or one of {', '.join(suffixes())}{instead}")


def shards(written: str, ledger: Ledger) -> list[Shard]:
    """List the shards of what a user wrote, options and all, each with the source that opens it.

    A file that is too much to be read at once is several.

    Raises:
        ValueError: if no source recognises it, there is nothing in it, or an option says nothing to its source.
    """
    return [part for shard in wholes(written, ledger) for part in _named(shard.source).divided(shard)]


def wholes(written: str, ledger: Ledger) -> list[Shard]:
    """List the shards of what a user wrote as `shards` does, but each file is one."""
    place, options = parted(written)
    return shards_of(place, SourceOptions.parse(options), ledger)


def shards_of(location: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
    """List the shards of a place; see `shards`."""
    asked = options.asked()
    source = recognised(location, asked)
    if unmeant := [name for name in asked if name not in source.takes]:
        raise ValueError(
            f"{location}: {unmeant[0]}= says nothing about what is read by {type(source).__name__}; leave it out"
        )
    _check_whole(Path(location))
    listed = source.shards(location, options, ledger)
    if not listed:
        raise ValueError(f"{location} holds nothing that can be read")
    return [replace(shard, source=shard.source or location) for shard in listed]


def _check_whole(folder: Path) -> None:
    """Refuse a folder whose conversion was stopped: what is there would pass for all of it.

    Raises:
        ValueError: naming a shard that is missing.
    """
    file = folder / CONVERTED
    if not os.path.isfile(file):
        return
    planned = read_json(file, dict, f"delete {folder} and convert again").get("shards", {})
    if missing := [name for name in planned if not (folder / name).exists()]:
        raise ValueError(
            f"{folder}: {len(missing)} of {len(planned)} shards are not there (first: {missing[0]}); the command that "
            f"converts goes on where it stopped, and without {CONVERTED} what is there is read"
        )


def guess_of(shard: Shard) -> str:
    """Return what is guessed of the columns of a shard, with the alternatives; empty for nothing."""
    return _named(shard.source).guess(shard)


def open_shard(shard: Shard, ledger: Ledger) -> Records:
    """Read a shard; its records have the split that its name says.

    Raises:
        ValueError: if a record says another one, or the shard cannot be read.
    """
    records = _named(shard.source).open(shard, ledger)
    if shard.split is None:
        return records
    other = records.frame.filter(pl.col("split") != shard.split).head(1)
    for where, split in other.select("where", "split").iter_rows():
        raise ValueError(f"{where}: split {split!r}, but {shard.location} is of {shard.split}")
    return records.with_frame(records.frame.with_columns(split=pl.lit(shard.split)))


def read(written: str, ledger: Ledger) -> Records:
    """Read all that a user wrote.

    Args:
        written: the path, with its options.
        ledger: is told what is left out.

    Raises:
        UnknownNameError: for a column that the user named and no shard has.
        ValueError: if no source recognises it, its shards cannot be read or hold no rows, or an id is there twice.
    """
    return _all_of(written, wholes(written, ledger), ledger)


def _all_of(written: str, listed: Sequence[Shard], ledger: Ledger) -> Records:
    records = Records.concat(_with_unique_ids(listed, [open_shard(shard, ledger) for shard in listed]))
    if not len(records) and not ledger.lost:
        raise ValueError(f"{parted(written)[0]} has no rows")
    named = [role for shard in listed for role in shard.options.columns if role not in FACTS]
    if lacking := [role for role in named if role not in records.columns]:
        raise unknown(f"column of {parted(written)[0]}", lacking[0], records.columns)
    return records


def read_some(written: str, ledger: Ledger, most: int) -> tuple[Records, float]:
    """Read a part of what a user wrote where it has files that are too much to be read at once, else all of it.

    Args:
        written: the path, with its options.
        ledger: is told what is left out.
        most: shards that are read, from the first to the last at equal distances.

    Returns:
        The records, and the share of the shards that was read.

    Raises:
        ValueError: as for `read`.
    """
    listed = shards(written, ledger)
    if not any(shard.span for shard in listed):
        return _all_of(written, listed, ledger), 1.0
    positions = np.linspace(0, len(listed) - 1, min(most, len(listed))).astype(int)
    chosen = [listed[position] for position in positions]
    records = Records.concat(_with_unique_ids(chosen, [open_shard(shard, ledger) for shard in chosen]))
    return records, len(chosen) / len(listed)


def _with_unique_ids(listed: Sequence[Shard], records: Sequence[Records]) -> list[Records]:
    """Return records whose ids are there once: where parts count their rows anew, the part's name goes before."""
    identities = [
        each.frame.select("id", "where", part=pl.lit(s.part)) for s, each in zip(listed, records, strict=True)
    ]
    every = pl.concat(identities).drop_nulls("id") if identities else pl.DataFrame(schema={"id": pl.String})
    if every["id"].n_unique() == len(every):
        return list(records)
    twice = (
        every.group_by("part", "id", maintain_order=True).agg("where").filter(pl.col("where").list.len() > 1)
    )
    for _, identity, (first, second, *_) in twice.head(1).iter_rows():
        raise ValueError(f"{second} has the id {identity} of {first}: give each its own, or keep one of them")

    def named(shard: Shard, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            (pl.lit(f"{shard.part}/") + pl.col(name)).alias(name) for name in ("id", "key")
        )

    return [each.with_frame(named(shard, each.frame)) for shard, each in zip(listed, records, strict=True)]
