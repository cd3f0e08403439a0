"""Tables that are texts: CSV, TSV, JSON lines."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import Any

import polars as pl

from ....modalities import MODALITIES
from ...template import Template, columns_in, is_template
from .._files.locations import sibling, suffix_of
from .._files.text import as_text, label_text, opened_text
from .._ledger import Ledger
from .._names import PICTURES
from .._options import said_columns
from .._progress import shown
from .._record import LABEL, value_name
from .._source import FileSpan
from .._values import Identities
from ._kinds import SAMPLE, kind_of
from ._locating import located
from ._many import CELL, HELD, LINE, NAME
from ._parts import lines_of
from ._roles import ONE_A_ROW, Roles, TableColumns, chosen, file_columns, text_columns

_BLOCK = 50_000  # rows that are Python objects at once
_FIRST = 10  # rows that show whether a table names the files of its folder
_LONGEST = 2**24
"""Characters of a cell at most: a quote that is never closed is found before all of a file is one cell."""


def blocks_of(
    path: str, user_columns: Mapping[str, str], ledger: Ledger, span: FileSpan | None = None
) -> tuple[Roles | TableColumns | None, Iterator[pl.DataFrame]]:
    """Return what the columns of a table are for, and its rows, or those of a stretch of it.

    Their form is that of `counterpoint.data.sources.tables._rows.EMPTY`, or of `._many.records_of`; None of no rows.
    """
    text = opened_text(path, ledger, None if span is None else lines_of(path, span))
    before = 0 if span is None else span.before
    rows = _rows(path, text, before, user_columns)
    blocks = iter(lambda: list(islice(rows, _BLOCK)), [])
    first = next(blocks, [])
    if not first:
        return None, iter(())
    # All parts of a table are read alike: what its columns are for is decided by the rows at its beginning.
    sample = first[:SAMPLE] if before == 0 else _head(path, user_columns)
    columns = list(dict.fromkeys(name for _, row in (*sample, *first) for name in row))
    roles = chosen(
        path,
        columns,
        user_columns,
        lambda name: kind_of([row.get(name) for _, row in sample]),
    )
    ids = Identities()
    each = shown(chain([first], blocks), f"reading {suffix_of(path)}", None)
    if isinstance(roles, TableColumns):
        return roles, (_block_of_columns(path, block, roles, ids) for block in each)
    return roles, (_block(path, block, roles, ids) for block in each)


def _rows(
    path: str, text: TextIOWrapper, before: int, user_columns: Mapping[str, str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows of a text that is open, behind so many lines, each with its line in the file."""
    if suffix_of(path) in {".jsonl", ".ndjson"}:
        return _json_rows(path, text, before)
    return _csv_rows(path, text, before, user_columns)


def _head(path: str, user_columns: Mapping[str, str]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the first rows of a table."""
    return list(islice(_rows(path, opened_text(path, Ledger()), 0, user_columns), SAMPLE))


def first_files(path: str) -> list[str]:
    """Return the files in the folder of a table that its first rows name; none of what is no table."""
    try:
        rows = list(islice(_rows(path, opened_text(path, Ledger()), 0, {}), _FIRST))
    except (OSError, ValueError, csv.Error):
        return []
    endings = tuple(ending for modality in MODALITIES for ending in modality.endings)
    folder = sibling(path, "")
    cells = (cell.strip() for _, row in rows for cell in row.values() if isinstance(cell, str))
    named = (pl.Series([cell]) for cell in cells if cell.lower().endswith(endings))
    files = [folder + located(folder, cell)[0] for cell in named]
    inside = Path(folder).absolute()
    return [
        file for file in files if Path(file).is_file() and Path(os.path.abspath(file)).is_relative_to(inside)
    ]


def _block(
    path: str, block: Sequence[tuple[int, Mapping[str, Any]]], roles: Roles, ids: Identities
) -> pl.DataFrame:
    """Return some rows, each with its line in the file, as columns of text."""
    picture = roles.file
    names = dict.fromkeys(name for _, row in block for name in row if name not in roles.taken)
    columns: dict[str, Any] = {
        "picture": [_named(path, line, picture, row.get(picture)) for line, row in block],
        "modality": [roles.modality] * len(block),
    }
    if roles.texts:
        columns["captions"] = _lists(
            [
                [text for named in roles.texts for text in _captions_of(path, line, named, row)]
                for line, row in block
            ]
        )
    columns |= {
        fact: [_fact(path, line, name, row.get(name), ids if fact == "id" else None) for line, row in block]
        for fact, name in roles.facts.items()
    }
    columns |= {LABEL + name: [label_text(row.get(name)) for _, row in block] for name in names}
    text = dict.fromkeys(columns, pl.String)
    return pl.DataFrame(columns, schema=text | ({"captions": pl.List(pl.String)} if roles.texts else {}))


def _block_of_columns(
    path: str, block: Sequence[tuple[int, Mapping[str, Any]]], roles: TableColumns, ids: Identities
) -> pl.DataFrame:
    """Return some rows, each with its line in the file, as `counterpoint.data.sources.tables._many` takes them."""
    columns: dict[str, pl.Series] = {LINE: pl.Series([line for line, _ in block], dtype=pl.Int64)}
    for made in roles.made:
        cells = [[row.get(header) for header in made.headers] for _, row in block]
        if made.held == "texts":
            columns[CELL + made.name] = _lists(
                [
                    [text for named in made.headers for text in _captions_of(path, line, named, row)]
                    for line, row in block
                ]
            )
        elif made.held == "values":
            for header, values in zip(made.headers, zip(*cells, strict=True), strict=True):
                texts = [
                    _fact(path, line, header, value) for (line, _), value in zip(block, values, strict=True)
                ]
                columns[value_name(made.name, header)] = pl.Series(texts, dtype=pl.String)
        else:
            arrays = [isinstance(cell, list) and bool(cell) for (cell,) in cells]
            names = [
                None if isinstance(cell, list) else _named(path, line, made.headers[0], cell)
                for (line, _), (cell,) in zip(block, cells, strict=True)
            ]
            columns[HELD + made.name] = pl.Series(arrays, dtype=pl.Boolean)
            columns[NAME + made.name] = pl.Series(names, dtype=pl.String)
    for fact, header in roles.facts.items():
        of = ids if fact == "id" else None
        facts = [_fact(path, line, header, row.get(header), of) for line, row in block]
        columns[fact] = pl.Series(facts, dtype=pl.String)
    for header in dict.fromkeys(name for _, row in block for name in row if name not in roles.taken):
        labels = [label_text(row.get(header)) for _, row in block]
        columns[LABEL + header] = pl.Series(labels, dtype=pl.String)
    return pl.DataFrame(columns)


def _named(path: str, line: int, column: str, value: object) -> str | None:
    if isinstance(value, Mapping):  # as `datasets` writes a picture; its bytes cannot be in a text
        value = value.get("path")
    if value is not None and not isinstance(value, str):
        advice = ONE_A_ROW if isinstance(value, list) else ""
        raise ValueError(
            f"{path}, line {line}: {column} is {_kind(value)}; expected the path of a picture{advice}"
        )
    return re.sub(r"^(\./)+", "", as_text(value) or "") or None


def _fact(path: str, line: int, column: str, value: object, ids: Identities | None = None) -> str | None:
    if isinstance(value, Mapping | list):
        raise ValueError(f"{path}, line {line}: {column} is {_kind(value)}; expected a text or a number")
    return as_text(value) if ids is None else ids.text(value, path, line)


def _captions_of(path: str, line: int, named: str, row: Mapping[str, Any]) -> list[str]:
    """Return the captions of a row in a column, or the one that a template joins."""
    if not is_template(named):
        return _captions(path, line, named, row.get(named))
    texts = {column: _captions(path, line, column, row.get(column)) for column in columns_in(named)}
    return [caption] if (caption := Template(named).fill(texts)) else []


def _captions(path: str, line: int, column: str, value: object) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        if isinstance(text, Mapping | list):
            raise ValueError(
                f"{path}, line {line}: {column} holds {_kind(text)}; expected a text or a list of texts"
            )
    return [text for text in (as_text(text) for text in texts) if text]


def _lists(texts: Sequence[list[str]]) -> pl.Series:
    """Return a column of lists; all texts are handed over at once, since one by one they are slow."""
    flat = pl.Series([text for row in texts for text in row], dtype=pl.String)
    rows = pl.Series([number for number, row in enumerate(texts) for _ in row], dtype=pl.UInt32)
    joined = pl.DataFrame({"row": rows, "texts": flat}).group_by("row", maintain_order=True).agg("texts")
    every = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.UInt32, eager=True)})
    lists = every.join(joined, on="row", how="left", maintain_order="left")["texts"]
    return lists.fill_null(pl.Series([[]], dtype=pl.List(pl.String)))


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return f"an object with {', '.join(map(str, value))}"
    return "a list" if isinstance(value, list) else f"the {type(value).__name__} {value}"


def _json_rows(path: str, opened: TextIOWrapper, before: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows of a text that is open, behind so many lines, each with its line in the file."""
    with opened as file:
        for line, text in enumerate(file, before + 1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise ValueError(
                    f"{path} cannot be read as {suffix_of(path)}: line {line}: {error}"
                ) from error
            if not isinstance(row, dict):
                raise ValueError(
                    f'{path}, line {line}: expected an object like {{"file_name": …, "text": …}}'
                )
            yield line, row


def _csv_rows(
    path: str, opened: TextIOWrapper, before: int, user_columns: Mapping[str, str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows of a text that is open, as `_json_rows` does; its header comes first, wherever they are.

    Row numbers that pandas and R write first, in a column without a name, are no column of the data.
    """
    csv.field_size_limit(_LONGEST)
    with opened as file:
        header = file.readline()
        if header and not header.strip():
            raise ValueError(f"{path}: the first line is blank, where the columns are named: take it out")
        separator = _separator(path, header, user_columns)
        names = next(csv.reader([header], delimiter=separator), [])
        names = [name.strip() for name in names]
        if "" in names[1:]:
            raise ValueError(
                f"{path}: column {names.index('', 1) + 1} of {len(names)} has no name in the header: write one there, "
                "or take the column out"
            )
        if twice := [name for name in names if name and names.count(name) > 1]:
            raise ValueError(
                f"{path}: the header names {twice[0]!r} twice: give each column a name of its own, or take one out"
            )
        if files := [name for name in names if name and kind_of([name]).form == "files"]:
            raise ValueError(
                f"{path}: the first line names the file {files[0]!r} and no columns: write a line above it with the "
                "names of the columns, for example image,text"
            )
        picture = next((k for k, name in enumerate(names) if name in file_columns(user_columns)), None)
        rows, front = csv.reader(file, delimiter=separator, strict=True), before + 1
        before = front
        while True:
            line = before + 1
            try:
                row = next(rows, None)
            except csv.Error as error:
                message = str(error)
                open_quote = "end of data" in message or "field limit" in message
                why = "a quote is opened here and never closed" if open_quote else message
                raise ValueError(f"{path} cannot be read as {suffix_of(path)}: line {line}: {why}") from error
            if row is None:
                return
            before = front + rows.line_num
            if before > line:
                _one_row(path, line, row, picture, separator)
            if len(row) > len(names) and any(cell.strip() for cell in row[len(names) :]):
                raise ValueError(
                    f"{path}, line {line}: {len(row)} fields, where the header names {len(names)}: "
                    f"put a text that holds {separator!r} in quotes"
                )
            if row:
                yield line, {name: cell for name, cell in zip(names, row, strict=False) if name}


def _one_row(path: str, line: int, row: Sequence[str], picture: int | None, separator: str) -> None:
    """Refuse a quoted text that has swallowed the rows after it."""
    below = (line.split(separator) for cell in row for line in cell.splitlines()[1:])
    for cells in below:
        if picture is not None and len(cells) > picture and Path(cells[picture]).suffix.lower() in PICTURES:
            raise ValueError(
                f"{path} cannot be read as {suffix_of(path)}: line {line}: a quote is opened here "
                "and only closed in another row"
            )


def _separator(path: str, header: str, user_columns: Mapping[str, str]) -> str:
    """Return what separates the columns: what the suffix says, or what makes the header name what is needed."""
    usual = "\t" if suffix_of(path) == ".tsv" else ","
    said = (each for role, named in user_columns.items() for each in said_columns(role, named))
    required = {column for each in said for column in columns_in(each)}
    for captioned in (True, False):
        for separator in (usual, ";", "\t", ",", "|"):
            names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
            captions = text_columns(names, user_columns)
            texts = {column for each in captions for column in columns_in(each)} & {*names}
            if {*names} & {*file_columns(user_columns)} and (texts or not captioned):
                return separator
    for separator in (usual, ";", "\t", ",", "|"):
        names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
        if len(names) > 1 and required <= {*names}:
            return separator
    return usual
