"""Large tables in parts, each of which is a shard: some rows of a Parquet table, some whole lines of a text."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from functools import lru_cache

from .._files.locations import is_url, suffix_of
from .._source import FileSpan

MOST_ROWS, PART_ROWS = 1_000_000, 100_000
"""A Parquet table of more rows is read in parts of so many."""
MOST_BYTES, PART_BYTES = 2**28, 2**23
"""A text of more bytes is read in parts of so many, and some more up to the end of a line."""

_SMALL = 2**24  # bytes of a Parquet table in which nobody keeps a million rows


def spans_of(path: str) -> tuple[FileSpan, ...]:
    """Return the parts of a table; none of one that is read at once, as those in a store are."""
    if is_url(path):
        return ()
    stat = os.stat(path)
    return _spans_of(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _spans_of(path: str, size: int, written: int) -> tuple[FileSpan, ...]:
    if suffix_of(path) == ".parquet":
        rows = _rows(path) if size > _SMALL else 0
        starts = range(0, rows, PART_ROWS) if rows > MOST_ROWS else ()
        return tuple(FileSpan(start, min(start + PART_ROWS, rows), start) for start in starts)
    return tuple(_of_text(path)) if size > MOST_BYTES else ()


def _rows(path: str) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return int(parquet.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):  # told of when it is opened
        return 0


def _of_text(path: str) -> Iterator[FileSpan]:
    """Yield the parts of a text: the first begins after the header of a CSV, and no quoted text of one is cut."""
    quoted = suffix_of(path) in {".csv", ".tsv"}
    with open(path, "rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return
        file.seek(0)
        if quoted:
            file.readline()
        start, lines = file.tell(), 0
        while block := file.read(PART_BYTES):
            quotes, ends, last = block.count(b'"'), block.count(b"\n"), block
            while not last.endswith(b"\n") or (quoted and quotes % 2):
                if not (last := file.readline()):
                    break
                quotes, ends = quotes + last.count(b'"'), ends + 1
            yield FileSpan(start, file.tell(), lines)
            start, lines = file.tell(), lines + ends


def lines_of(path: str, span: FileSpan) -> bytes:
    """Return the lines of a part of a text, behind the header of a CSV."""
    with open(path, "rb") as file:
        header = file.readline() if suffix_of(path) in {".csv", ".tsv"} else b""
        file.seek(span.start)
        return header + file.read(span.stop - span.start)
