"""Checks of a data set's name that need neither torch nor the data: paths, and columns of a table's header.

They refuse only what opening the data would refuse, and leave everything that they are not sure of to it.
"""

from __future__ import annotations

import csv
import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..registry import UnknownNameError, check_python_file, named_in_file, unknown
from .benchmarks import BENCHMARKS
from .collections import COLLECTIONS
from .derived.mixture import sources_of
from .derived.names import VOXELS
from .synthetic import WORLDS
from .template import columns_in, read_option

_DELIMITERS = ",;\t|"
_PATTERN = re.compile(r"[@*?\[{]|://")


def check_named(source: str) -> None:
    """Refuse data whose path does not exist, or whose table lacks a column that is named.

    Args:
        source: what a user wrote: one source or several.

    Raises:
        UnknownNameError: for a name that no data set has.
        FileNotFoundError: for a path of which nothing exists.
        ValueError: for a column that the table does not have.
    """
    known = (VOXELS, *WORLDS.names(), *COLLECTIONS.names(), *BENCHMARKS.names())
    for one in sources_of(source):
        # An option follows a comma, which a file's name may have too.
        ends = [len(one), *(match.start() for match in reversed([*re.finditer(",", one)]))]
        path = next((one[:end] for end in ends if one[:end] and os.path.exists(one[:end])), None)
        if path is not None:
            _check_columns(path, one[len(path) :])
            continue
        first = one[: ends[-1]]
        if not first.strip() or _PATTERN.search(one):
            continue
        if (defined := named_in_file(first)) is not None:
            check_python_file(defined[0])
        elif ":" not in first and first not in known:
            raise not_found(one)


def not_found(source: str) -> Exception:
    """Return the error for a text that is neither the name of a data set nor a path."""
    if any(mark in source for mark in "/\\."):
        return FileNotFoundError(
            f"no data at {source!r}: expected a folder, a CSV, TSV, JSONL or Parquet file, a tar file, or "
            "FILE.py:NAME"
        )
    benchmarks = (f"{name}:PATH" for name in BENCHMARKS.names())
    known = [*WORLDS.names(), f"{VOXELS}:SOURCE", *COLLECTIONS.names(), *benchmarks]
    refusal = unknown("data set", source, known)
    return UnknownNameError(f"{refusal}; nor is there a folder or a file of that name here")


def check_columns(path: str, columns: Sequence[str], wanted: Iterable[tuple[str, str]]) -> None:
    """Refuse a column that a table does not have.

    Args:
        path: of the table, for the message.
        columns: those of the table.
        wanted: what each column that the user named is for, and its name.

    Raises:
        ValueError: naming the nearest column and all that there are.
    """
    for role, column in wanted:
        if column not in columns:
            near = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
            of = f" for the {role}" if role != column else ""
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{path}: there is no column {column!r}{of}; found {list(columns)}{hint}")


def _check_columns(path: str, options: str) -> None:
    named = re.search(r",columns=([^,]*)", options)
    if named is None or not os.path.isfile(path):
        return
    try:
        header = header_of(Path(path))
    except Exception:  # whatever is wrong with the file, its reader says it better
        return
    if header:
        roles = map(read_option, named[1].split("+"))
        wanted = [(role, name) for role, column in roles for name in columns_in(column)]
        check_columns(path, header, wanted)


def header_of(path: Path) -> list[str] | None:
    """Return the names of a table's columns from its header; None where it is not certain.

    The rows of a JSONL file may lack columns, and a CSV file may have another delimiter than its suffix says.
    """
    ending = path.suffix.lower()
    if ending == ".parquet":
        from pyarrow import parquet  # here, as it takes a tenth of a second

        return list(parquet.read_schema(path).names)
    if ending not in (".csv", ".tsv"):
        return None
    delimiter = "\t" if ending == ".tsv" else ","
    with path.open(encoding="utf-8-sig") as opened:
        line = opened.readline()
    if any(mark in line for mark in _DELIMITERS if mark != delimiter):
        return None
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
