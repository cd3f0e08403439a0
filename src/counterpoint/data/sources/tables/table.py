"""Examples in a CSV, TSV, JSONL or Parquet table: files with captions, or columns of any modalities."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import final

import polars as pl

from .._files.locations import files_of, inside, short_names, suffix_of
from .._ledger import COLUMNS, Ledger
from .._names import CAPTION_COLUMNS, TEXT_ENDINGS, is_divided, split_of
from .._options import SourceOptions
from .._record import Records
from .._source import Shard, Source
from . import _many, _parquet, _rows, _texts
from ._parts import spans_of
from ._roles import Roles, TableColumns
from ._rows import FOLDERS

_DESCRIBING = {"metadata", "captions", "data"}  # names of a table that describes its folder


@final
class TableSource(Source):
    """Tables: CSV, TSV, JSON lines or Parquet, with a row for each example.

    One with a column of files, and of captions or not, has a row for each file and caption, and a row that lacks
    something is left out. Any other has a row for each example, and an empty cell is a gap; see
    `counterpoint.data.sources.tables._roles.chosen` for how columns are recognised.

    A folder is read by its tables where it has one that is called ``metadata``, ``captions`` or ``data``, or some that
    are called after splits (``train.csv``, ``test-00000-of-00002.parquet``) or are Parquet; or where a folder in it
    that is called ``data``, ``metadata`` or ``captions`` has tables. These may name pictures from their own folder or
    from the one above. A folder with exactly one table, whatever its name, is read by it if the table names files of
    the folder, no captions lie beside these files, and no folder in it is called after a split.
    """

    suffixes = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
    precedence = 1
    takes = frozenset({"columns", "outside"})

    def recognises(self, written: str) -> bool:
        if os.path.isdir(written):
            return bool(_chosen_tables(Path(written))[0])
        return bool(_in_store(written)) or suffix_of(written) in self.suffixes

    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        sides: dict[str, str | None] = {}
        if os.path.isdir(written):
            taken, others = _chosen_tables(Path(written))
            sides = {str(path): side for path, side in taken.items()}
            for other in others:
                ledger.add("passed over", "beside what is read", other)
            if (only := next(iter(taken))).stem not in _DESCRIBING and taken == _only_table(Path(written)):
                ledger.add("guessed", "table", only, detail="the only table of the folder names its files")
        files = files_of(*(sides or _in_store(written) or [written]))
        if not sides:
            sides = sides_by_name(files)
        names = dict(zip(files, short_names(files), strict=True))
        return [
            Shard(
                name, file, "table", files[file], options, part_of_tables(name, len(files)), sides.get(file)
            )
            for file, name in names.items()
        ]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read a table; rows with one picture are one record with several captions, where it has no further columns.

        Raises:
            ValueError: if it is no table, lacks a column that can be read, or contradicts itself.
        """
        roles, blocks = _blocks_of(shard, ledger)
        return records_of(shard, roles, blocks, ledger)

    def guess(self, shard: Shard) -> str:
        """Return what is guessed of the columns of a table, with the alternatives; empty for nothing."""
        roles, _ = _blocks_of(shard, Ledger())
        return roles.guess if roles is not None else ""

    def divided(self, shard: Shard) -> list[Shard]:
        """Return the parts of a large table, in each of which rows of one picture are one record."""
        spans = spans_of(shard.location)
        return [replace(shard, name=f"{shard.name}[{s.start}:{s.stop}]", span=s) for s in spans] or [shard]


def _blocks_of(shard: Shard, ledger: Ledger) -> tuple[Roles | TableColumns | None, Iterable[pl.DataFrame]]:
    """Return what the columns of a table are for, and its rows."""
    path, user_columns, span = shard.location, shard.options.columns, shard.span
    if suffix_of(path) == ".parquet":
        return _parquet.blocks_of(path, user_columns, span)
    return _texts.blocks_of(path, user_columns, ledger, span)


def records_of(
    shard: Shard, roles: Roles | TableColumns | None, blocks: Iterable[pl.DataFrame], ledger: Ledger
) -> Records:
    """Return the records of a table, or of a stretch of it, whose rows are given block by block."""
    if roles is None:
        return Records.concat([])  # without columns, which another table of the data may have otherwise
    path, outside, span = shard.location, shard.options.outside, shard.span
    if roles.guess and (span is None or span.before == 0):
        ledger.add("guessed", COLUMNS, path, detail=roles.guess)
    if isinstance(roles, TableColumns):
        return _many.records_of(path, roles, blocks, ledger, outside=outside, span=span)
    return _rows.records_of(path, roles, blocks, ledger, outside=outside, span=span)


def sides_by_name(files: Iterable[str]) -> dict[str, str | None]:
    """Return the splits that the names of several tables, or of parts, say; one split alone says nothing."""
    sides = {file: split_of(PurePosixPath(file).stem) for file in files}
    return sides if len({*sides.values()}) > 1 and None not in sides.values() else {}


def _in_store(written: str) -> list[str]:
    """Return the tables right in a folder of a store; none where shards lie beside them, whose statistics they are."""
    files = inside(written)
    shards = any(suffix_of(file) == ".tar" for file in files)
    return [] if shards else [file for file in files if suffix_of(file) in TableSource.suffixes]


def part_of_tables(name: str, tables: int) -> str:
    """Return the part of a table among some: each counts its rows anew, and is called after its file."""
    return name.rpartition(".")[0] if tables > 1 else ""


def _tables_in(folder: Path) -> list[Path]:
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(
        p for p in inside if p.suffix.lower() in TableSource.suffixes and not p.name.startswith(".")
    )


def _only_table(folder: Path) -> dict[Path, str | None]:
    """Return the table of a folder that has exactly one and is described by it; nothing for other folders."""
    tables = _tables_in(folder)
    if len(tables) != 1 or not tables[0].is_file() or tables[0].suffix.lower() == ".parquet":
        return {}
    files = _texts.first_files(str(tables[0]))
    if not files or is_divided(folder) or any(map(_has_captions_beside, files)):
        return {}
    return {tables[0]: None}


def _has_captions_beside(file: str) -> bool:
    """Return whether a text, or a ``.json`` with a caption, has the name of a file."""
    stem = os.path.splitext(file)[0]
    if any(os.path.exists(stem + ending) for ending in TEXT_ENDINGS):
        return True
    try:
        values = json.loads(Path(f"{stem}.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and not values.keys().isdisjoint(CAPTION_COLUMNS)


def _chosen_tables(folder: Path) -> tuple[dict[Path, str | None], list[Path]]:
    """Return the tables that a folder is read by, each with the split of its name, and those beside them."""
    here = _tables_in(folder)
    # A table beside a shard of its name is about the shard: img2dataset writes such.
    here = [p for p in here if not p.is_dir() and not p.with_suffix(".tar").exists()]
    chosen: dict[Path, str | None] = dict.fromkeys([p for p in here if p.stem in _DESCRIBING][:1])
    files = here
    if not chosen:
        for files in (here, *map(_tables_in, (folder / name for name in FOLDERS))):
            chosen = {p: side for p in files if (side := split_of(p.stem))}
            chosen = chosen or {p: None for p in files if p.suffix.lower() == ".parquet"}
            if not chosen and files is not here:
                chosen = dict.fromkeys([p for p in files if p.stem in _DESCRIBING][:1] or files[:1])
            if chosen:
                break
    if not chosen:
        chosen, files = _only_table(folder), here
    return chosen, [p for p in files if p not in chosen] if chosen else []
