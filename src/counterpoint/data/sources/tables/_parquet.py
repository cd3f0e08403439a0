"""Parquet tables, with paths of pictures or with the pictures inside."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from .._places import is_url, opened, part_of, suffix_of
from .._progress import shown
from .._record import LABEL
from ._roles import chosen

_BLOCK = 50_000  # rows that are read at once
_BYTES_BLOCK = 512  # rows of a table that holds pictures


def blocks_of(path: str, asked: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table as columns; see `counterpoint.data.sources.tables._rows.EMPTY`."""
    try:
        scan = _scan(path)
        schema = scan.collect_schema()
    except Exception as error:
        raise ValueError(f"{path} cannot be read as {suffix_of(path)}: {error}") from error
    roles = chosen(path, list(schema), asked)
    for fact, column in roles.facts.items():
        if not _is_scalar(schema, column) and schema[column] != pl.Null:
            raise ValueError(
                f"{path}: the column {column} for the {fact} holds {schema[column]}; expected texts or numbers"
            )
    classes = _classes(path)
    values = {
        name: _text(schema, name).replace(classes.get(name, {}))
        for name in schema
        if name not in {roles.image, roles.text}
        and (_is_scalar(schema, name) or name in roles.facts.values())
    }
    columns = [
        *_picture_columns(path, schema, roles.image),
        _caption_column(path, schema, roles.text),
        *(values[name].alias(fact) for fact, name in roles.facts.items()),
        *(value.alias(LABEL + name) for name, value in values.items() if name not in roles.taken),
    ]
    total: int = scan.select(pl.len()).collect().item()
    step = _BLOCK if _is_scalar(schema, roles.image) else _BYTES_BLOCK
    for start in shown(range(0, total, step), f"reading {suffix_of(path)}", -(-total // step)):
        yield scan.slice(start, step).select(columns).collect()


def _scan(path: str) -> pl.LazyFrame:
    """Return a table to be read in parts; one in a store is held in memory, as its parts would come one by one."""
    if not is_url(path):
        return pl.scan_parquet(path, glob=False)
    return pl.scan_parquet(io.BytesIO(part_of(path)))


def _classes(path: str) -> dict[str, dict[str, str]]:
    """Return the names of classes that `datasets` keeps beside a table: a column to its numbers, each with its name."""
    from pyarrow import parquet

    with opened(path) as file:
        kept = (parquet.read_schema(file).metadata or {}).get(b"huggingface", b"{}")
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
