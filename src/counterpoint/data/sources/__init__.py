"""Sources of pairs: each recognises what the user wrote, and reads it as records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from . import folder, table, webdataset
from ._record import Record, StoredFile

__all__ = ["Record", "StoredFile", "read_records"]


def read_records(source: Path) -> Iterable[Record]:
    """Read the records of a folder or a table, rows with one picture joined."""
    if source.is_dir():
        tables = sorted(
            p
            for p in source.iterdir()
            if p.suffix in table.SUFFIXES and p.stem in {"metadata", "captions", "data"}
        )
        if tables:
            return table.read(tables[0])
        archives = sorted(source.glob("*.tar"))
    elif source.suffix == ".tar":
        archives = [source]
    else:
        archives = []
    if archives:
        return webdataset.read(archives)
    if source.is_dir():
        return folder.read(source)
    if source.suffix not in table.SUFFIXES:
        raise ValueError(
            f"{source}: expected a folder or one of {', '.join(sorted({'.tar', *table.SUFFIXES}))}"
        )
    return table.read(source)
