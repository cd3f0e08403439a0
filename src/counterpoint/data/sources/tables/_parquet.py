"""Parquet tables and Arrow files, with paths of pictures or with the pictures inside."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from pyarrow import parquet

from .._asset import arrow_file
from .._places import is_url, opened, part_of, suffix_of
from .._progress import shown
from .._record import LABEL
from ._roles import chosen

_BLOCK = 50_000  # rows that are read at once
_BYTES_BLOCK = 512  # rows of a table that holds pictures


def blocks_of(path: str, asked: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table as columns; see `counterpoint.data.sources.tables._rows.EMPTY`."""
    try:
        table = _ArrowFile(path) if suffix_of(path) == ".arrow" else _Parquet(path)
        schema = table.schema
    except Exception as error:
        raise ValueError(f"{path} cannot be read as {suffix_of(path)}: {error}") from error
    roles = chosen(path, list(schema), asked)
    for fact, column in roles.facts.items():
        if not _is_scalar(schema, column) and schema[column] != pl.Null:
            raise ValueError(
                f"{path}: the column {column} for the {fact} holds {schema[column]}; expected texts or numbers"
            )
    classes = _classes(table.metadata)
    values = {
        name: _text(schema, name).replace(classes.get(name, {}))
        for name in schema
        if name not in (roles.image, roles.text)
        and (_is_scalar(schema, name) or name in roles.facts.values())
    }
    columns = [
        *_picture_columns(path, schema, roles.image),
        *([] if roles.text is None else [_caption_column(path, schema, roles.text)]),
        *(values[name].alias(fact) for fact, name in roles.facts.items()),
        *(value.alias(LABEL + name) for name, value in values.items() if name not in roles.taken),
    ]
    step = _BLOCK if _is_scalar(schema, roles.image) else _BYTES_BLOCK
    for start in shown(range(0, table.rows, step), f"reading {suffix_of(path)}", -(-table.rows // step)):
        yield table.part(start, step).select(columns).collect()


class _Parquet:
    """A Parquet table that is read in parts; one in a store is held in memory, as its parts would come one by one."""

    def __init__(self, path: str) -> None:
        self._scan = (
            pl.scan_parquet(io.BytesIO(part_of(path))) if is_url(path) else pl.scan_parquet(path, glob=False)
        )
        self.schema: Mapping[str, Any] = self._scan.collect_schema()
        with opened(path) as file:
            self.metadata: Mapping[bytes, bytes] = parquet.read_schema(file).metadata or {}
        self.rows: int = self._scan.select(pl.len()).collect().item()

    def part(self, start: int, rows: int) -> pl.LazyFrame:
        return self._scan.slice(start, rows)


class _ArrowFile:
    """An Arrow file that is mapped, and never in memory as a whole."""

    def __init__(self, path: str) -> None:
        self._table = arrow_file(path)
        self.schema: Mapping[str, Any] = self.part(0, 0).collect_schema()
        self.metadata: Mapping[bytes, bytes] = self._table.schema.metadata or {}
        self.rows: int = self._table.num_rows

    def part(self, start: int, rows: int) -> pl.LazyFrame:
        return pl.DataFrame(pl.from_arrow(self._table.slice(start, rows))).lazy()


def _classes(metadata: Mapping[bytes, bytes]) -> dict[str, dict[str, str]]:
    """Return the names of classes that `datasets` keeps beside a table: a column to its numbers, each with its name."""
    kept = metadata.get(b"huggingface", b"{}")
    features: dict[str, dict[str, Any]] = json.loads(kept).get("info", {}).get("features", {})
    named = {column: kind["names"] for column, kind in features.items() if kind.get("_type") == "ClassLabel"}
    return {
        column: dict(zip(map(str, range(len(names))), names, strict=True)) for column, names in named.items()
    }


def _is_scalar(schema: Mapping[str, Any], name: str) -> bool:
    kind = schema[name]
    return kind.is_numeric() or kind in (pl.String, pl.Categorical, pl.Enum, pl.Boolean)


def _text(schema: Mapping[str, Any], name: str) -> pl.Expr:
    """Return a column as text, blank ones as null; whole numbers have no decimal point."""
    column = pl.col(name)
    if schema[name].is_float():
        whole = column.is_finite() & (column == column.round())
        number = column.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(whole).then(number).otherwise(column.cast(pl.String))
    text = column.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def _picture_columns(path: str, schema: Mapping[str, Any], name: str) -> list[pl.Expr]:
    """Return the picture's name, and the column of its bytes for rows that hold them."""
    kind, column, nothing = schema[name], pl.col(name), pl.lit(None, dtype=pl.String)
    if isinstance(kind, pl.Struct) and {"bytes", "path"} <= {field.name for field in kind.fields}:
        held = column.struct.field("bytes").is_not_null()
        named = column.struct.field("path").cast(pl.String)
    elif kind == pl.Binary:
        held, named = column.is_not_null(), nothing
    elif _is_scalar(schema, name) and not kind.is_numeric():
        held, named = pl.lit(False), column.cast(pl.String)
    else:
        raise ValueError(
            f"{path}: the column {name} holds {kind}; expected paths of pictures, or their bytes as `datasets` has them"
        )
    named = named.str.strip_chars().str.replace(r"^(\./)+", "")
    return [
        pl.when(named != "").then(named).alias("picture"),
        pl.when(held).then(pl.lit(name)).otherwise(nothing).alias("column"),
    ]


def _caption_column(path: str, schema: Mapping[str, Any], name: str) -> pl.Expr:
    """Return the captions of each row, blank ones dropped."""
    kind = schema[name]
    if isinstance(kind, pl.List) and kind.inner == pl.String:
        texts = pl.col(name)
    elif _is_scalar(schema, name):
        texts = pl.concat_list(_text(schema, name))
    else:
        raise ValueError(f"{path}: the column {name} holds {kind}; expected texts or lists of texts")
    stripped = texts.list.eval(pl.element().str.strip_chars())
    return stripped.list.eval(pl.element().filter(pl.element() != "")).fill_null([]).alias("captions")
