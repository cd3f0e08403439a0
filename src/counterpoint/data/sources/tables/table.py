"""Pairs in a CSV, TSV, JSONL or Parquet table: a picture and its captions a row."""

from __future__ import annotations

from pathlib import Path
from typing import final

from .._ledger import Ledger
from .._names import split_of
from .._options import Options
from .._record import Records
from .._source import Shard, Source, state_of
from . import _parquet, _texts
from ._rows import records_of

_DESCRIBING = {"metadata", "captions", "data"}  # names of a table that describes its folder


@final
class Table(Source):
    """Tables with a row for each picture and caption: CSV, TSV, JSON lines or Parquet.

    A folder is read by its tables where it has one that is called ``metadata``, ``captions`` or ``data``, or, in itself
    or in ``data``, some that are called after splits (``train.csv``, ``test-00000-of-00002.parquet``) or are Parquet.
    """

    suffixes = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
    precedence = 1
    takes = frozenset({"columns"})

    def recognises(self, written: str) -> bool:
        path = Path(written)
        return bool(_chosen_tables(path)[0]) if path.is_dir() else path.suffix.lower() in self.suffixes

    def shards(self, written: str, options: Options, ledger: Ledger) -> list[Shard]:
        path = Path(written)
        taken, beside = _chosen_tables(path) if path.is_dir() else ({path: None}, [])
        for other in beside:
            ledger.add("passed over", "beside what is read", other)
        several = len(taken) > 1
        return [
            Shard(
                each.name, str(each), "table", state_of([each]), options, each.stem if several else "", split
            )
            for each, split in taken.items()
        ]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read a table; rows with one picture are one record with several captions.

        Raises:
            ValueError: if it is no table, lacks a column for the picture or the caption, or contradicts itself.
        """
        path, asked = Path(shard.place), shard.options.columns
        parquet = path.suffix.lower() == ".parquet"
        blocks = _parquet.blocks_of(path, asked) if parquet else _texts.blocks_of(path, asked, ledger)
        return records_of(path, blocks, ledger)


def _chosen_tables(folder: Path) -> tuple[dict[Path, str | None], list[Path]]:
    """Return the tables that a folder is read by, each with the split of its name, and those beside them."""
    here = [
        p
        for p in sorted(folder.iterdir())
        if p.suffix.lower() in Table.suffixes and not p.name.startswith(".")
    ]
    here = [p for p in here if not p.is_dir()]
    chosen: dict[Path, str | None] = dict.fromkeys([p for p in here if p.stem in _DESCRIBING][:1])
    files = here
    if not chosen:
        data = folder / "data"
        inner = (
            sorted(p for p in data.iterdir() if p.suffix.lower() in Table.suffixes) if data.is_dir() else []
        )
        for files in (here, inner):
            chosen = {p: side for p in files if (side := split_of(p.stem))}
            chosen = chosen or {p: None for p in files if p.suffix.lower() == ".parquet"}
            if chosen:
                break
    return chosen, [p for p in files if p not in chosen] if chosen else []
