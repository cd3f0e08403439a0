"""Parquet tables and Arrow files, with paths of pictures or with the pictures inside."""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from ....modalities import MODALITIES
from ...template import Template, columns_in, is_template
from .._files.asset import arrow_file
from .._files.locations import is_url, opened, part_of, sought, suffix_of
from .._files.noted import columns_noted
from .._files.text import label_text
from .._options import FACTS
from .._progress import shown
from .._record import LABEL, value_name
from .._source import FileSpan
from ._kinds import SAMPLE, ColumnType, kind_of
from ._many import CELL, HELD, NAME
from ._roles import ONE_A_ROW, DerivedColumn, Roles, TableColumns, as_noted, chosen

if TYPE_CHECKING:
    import pyarrow as pa

_WORDS = (
    pl.String,
    pl.Categorical,
    pl.Enum,
    pl.Boolean,
    pl.Date,
    pl.Datetime,
    pl.Time,
)  # cells with a text each
_POINT = 2  # numbers
_BLOCK = 50_000  # rows that are read at once
_BYTES_BLOCK = 512  # rows of a table that holds pictures


def blocks_of(
    path: str, user_columns: Mapping[str, str], span: FileSpan | None = None
) -> tuple[Roles | TableColumns | None, Iterator[pl.DataFrame]]:
    """Return what the columns of a table are for, and its rows, or those of a stretch of it.

    Their form is that of `counterpoint.data.sources.tables._rows.EMPTY`, or of `._many.records_of`; None of no rows
    whose columns are not recognised by their names.
    """
    try:
        table = _table(path, span)
        schema = table.schema
    except Exception as error:
        raise ValueError(f"{path} cannot be read as {suffix_of(path)}: {error}") from error
    kinds = _Kinds(table)
    noted = {} if user_columns.keys() - {*FACTS} else columns_noted(table.metadata)
    try:
        roles = (
            as_noted(noted, user_columns, list(schema))
            if noted
            else (
                chosen(
                    path,
                    list(schema),
                    user_columns,
                    kinds,
                    whole=not is_url(path),
                    stated=_stated(table.metadata),
                )
            )
        )
    except ValueError:
        # What columns are for is seen from their cells, of which there may be none.
        if all(not len(table.head(name)) for name in schema):
            return None, iter(())
        raise
    for fact, column in roles.facts.items():
        if not _is_scalar(schema, column) and schema[column] != pl.Null:
            raise ValueError(
                f"{path}: the column {column} for the {fact} holds {schema[column]}; expected texts or numbers"
            )
    return roles, _blocks(path, table, roles)


def _blocks(path: str, table: _Table, roles: Roles | TableColumns) -> Iterator[pl.DataFrame]:
    schema, classes = table.schema, _classes(table.metadata)
    values = {
        name: _text(schema, name).replace(classes.get(name, {}))
        for name in schema
        if (name not in roles.taken or name in roles.facts.values())
        and (_is_scalar(schema, name) or name in roles.facts.values())
    }
    lists = {name: _label(name) for name in schema if name not in roles.taken and _is_label(schema[name])}
    if isinstance(roles, Roles):
        files = [roles.file]
        taken = [roles.file, *(column for each in roles.texts for column in columns_in(each))]
        made = [
            *_picture_columns(path, schema, roles.file),
            pl.lit(roles.modality, pl.String).alias("modality"),
            *_caption_columns(path, schema, roles.texts),
        ]
    else:
        files = [header for each in roles.made if each.held == "files" for header in each.headers]
        taken = roles.read
        made = [column for each in roles.made for column in _columns_of(path, schema, each)]
    columns = [
        *made,
        *(values[name].alias(fact) for fact, name in roles.facts.items()),
        *(value.alias(LABEL + name) for name, value in (values | lists).items() if name not in roles.taken),
    ]
    used = [name for name in schema if name in values or name in lists or name in taken]
    step = _BLOCK if all(_is_scalar(schema, name) for name in files) else _BYTES_BLOCK
    for part in table.parts(used, files[0] if files else used[0], step):
        yield part.select(columns).collect()


class _Kinds:
    """The kinds of a table's columns, each looked at when it is asked for."""

    def __init__(self, table: _Table) -> None:
        self._table = table

    def __call__(self, name: str) -> ColumnType:
        kind = self._table.schema[name]
        if isinstance(kind, pl.List | pl.Array):
            numeric = _innermost(kind).is_numeric()
            return (
                ColumnType("arrays")
                if numeric
                else kind_of(list(filter(None, self._table.head(name).to_list())))
            )
        if kind == pl.Binary or _has(kind, "bytes"):
            paths = self._table.head(name).struct.field("path").to_list() if _has(kind, "path") else []
            return ColumnType("files", _stated(self._table.metadata).get(name) or kind_of(paths).modality)
        return (
            kind_of(self._table.head(name).to_list())
            if _is_scalar(self._table.schema, name)
            else ColumnType("other")
        )


def _has(kind: Any, field: str) -> bool:
    return isinstance(kind, pl.Struct) and field in {each.name for each in kind.fields}


def _innermost(kind: Any) -> Any:
    return _innermost(kind.inner) if isinstance(kind, pl.List | pl.Array) else kind


def _columns_of(path: str, schema: Mapping[str, Any], made: DerivedColumn) -> list[pl.Expr]:
    """Return the cells of a column of the data, as `counterpoint.data.sources.tables._many` takes them."""
    if made.held == "texts":
        return [column.alias(CELL + made.name) for column in _caption_columns(path, schema, made.headers)]
    if made.held == "values":
        cells: dict[str, pl.Expr] = {}
        for header in made.headers:
            if isinstance(kind := schema[header], pl.Struct):
                cells |= {field.name: pl.col(header).struct.field(field.name) for field in kind.fields}
            elif _is_scalar(schema, header) or kind == pl.Null:
                cells[header] = _text(schema, header)
            else:
                raise ValueError(f"{path}: the column {header} holds {kind}; expected numbers or words")
        return [cell.cast(pl.String).alias(value_name(made.name, name)) for name, cell in cells.items()]
    (header,) = made.headers
    kind, held = schema[header], pl.col(header)
    if isinstance(kind, pl.List | pl.Array) and _innermost(kind).is_numeric():
        lengths = held.list.len() if isinstance(kind, pl.List) else pl.lit(kind.size)
        return [
            (held.is_not_null() & (lengths > 0)).alias(HELD + made.name),
            pl.lit(None, pl.String).alias(NAME + made.name),
        ]
    name, column = _picture_columns(path, schema, header)
    return [name.alias(NAME + made.name), column.is_not_null().alias(HELD + made.name)]


class _Table(ABC):
    """A table that is read in parts."""

    schema: Mapping[str, Any]
    metadata: Mapping[bytes, bytes]

    @abstractmethod
    def parts(self, columns: Sequence[str], picture: str, step: int) -> Iterator[pl.LazyFrame]:
        """Yield some columns, so many rows at once or as the table is divided.

        Args:
            columns: that are asked for; others may come, too.
            picture: that of them whose bytes are not looked at, but whether there are any.
            step: the rows of a part.
        """

    @abstractmethod
    def head(self, column: str) -> pl.Series:
        """Return the first cells of a column, by which it is known what it holds."""


def _table(path: str, span: FileSpan | None) -> _Table:
    if suffix_of(path) == ".arrow":
        return _ArrowFile(path)
    from pyarrow import parquet

    if not is_url(path):
        with opened(path) as file:
            scan = pl.scan_parquet(path, glob=False)
            stretch = scan if span is None else scan.slice(span.start, span.stop - span.start)
            return _Local(stretch, parquet.read_schema(file), scan)
    if path.startswith("http"):  # a server of the web may know no parts of files
        content = io.BytesIO(part_of(path))
        return _Local(pl.scan_parquet(content), parquet.read_schema(content))
    return _InStore(path)


class _ArrowFile(_Table):
    """An Arrow file that is mapped, and never in memory as a whole."""

    def __init__(self, path: str) -> None:
        self._table = arrow_file(path)
        self.schema: Mapping[str, Any] = _lazy(self._table.slice(0, 0)).collect_schema()
        self.metadata: Mapping[bytes, bytes] = self._table.schema.metadata or {}

    def parts(self, columns: Sequence[str], picture: str, step: int) -> Iterator[pl.LazyFrame]:
        for start in _starts(self._table.num_rows, step, "reading .arrow"):
            yield _lazy(self._table.slice(start, step))

    def head(self, column: str) -> pl.Series:
        return pl.DataFrame(pl.from_arrow(self._table.slice(0, SAMPLE).select([column])))[column]


class _Local(_Table):
    """A Parquet table on this machine's disks, or in memory."""

    def __init__(self, scan: pl.LazyFrame, schema: pa.Schema, whole: pl.LazyFrame | None = None) -> None:
        self._scan, self._whole = scan, scan if whole is None else whole
        self.schema: Mapping[str, Any] = scan.collect_schema()
        self.metadata: Mapping[bytes, bytes] = schema.metadata or {}

    def parts(self, columns: Sequence[str], picture: str, step: int) -> Iterator[pl.LazyFrame]:
        for start in _starts(self._scan.select(pl.len()).collect().item(), step, "reading .parquet"):
            yield self._scan.slice(start, step)

    def head(self, column: str) -> pl.Series:
        return self._whole.select(column).head(SAMPLE).collect()[column]


class _InStore(_Table):
    """A Parquet table in a store, of which the pictures are not fetched where the table says that all rows have one."""

    def __init__(self, path: str) -> None:
        from pyarrow import parquet

        self._file = parquet.ParquetFile(sought(path), pre_buffer=True)
        schema = self._file.schema_arrow
        self.schema: Mapping[str, Any] = pl.DataFrame(pl.from_arrow(schema.empty_table())).schema
        self.metadata: Mapping[bytes, bytes] = schema.metadata or {}

    def parts(self, columns: Sequence[str], picture: str, step: int) -> Iterator[pl.LazyFrame]:
        kind = self.schema[picture]
        fields = [field.name for field in kind.fields] if isinstance(kind, pl.Struct) else []
        beside = [name for name in fields if name != "bytes"]
        others = [*(name for name in columns if name != picture), *(f"{picture}.{name}" for name in beside)]
        there = pl.lit(b"")  # in place of a picture's bytes
        if fields:
            there = pl.struct(there.alias("bytes"), *(pl.col(picture).struct.field(name) for name in beside))
        holds = (kind == pl.Binary or "bytes" in fields) and others
        groups = range(self._file.metadata.num_row_groups)
        for group in shown(groups, "reading .parquet", len(groups)):
            if holds and self._all_have(group, f"{picture}.bytes" if fields else picture):
                rows = self._file.read_row_group(group, columns=others)
                yield _lazy(rows).with_columns(there.alias(picture))
            else:
                yield _lazy(self._file.read_row_group(group, columns=list(columns)))

    def head(self, column: str) -> pl.Series:
        if not self._file.metadata.num_row_groups:
            return pl.Series(column, [], dtype=self.schema[column])
        return pl.DataFrame(pl.from_arrow(self._file.read_row_group(0, columns=[column])))[column].head(
            SAMPLE
        )

    def _all_have(self, group: int, leaf: str) -> bool:
        """Return whether a column is known to be without gaps in a group of rows."""
        metadata = self._file.metadata.row_group(group)
        chunks = [metadata.column(number) for number in range(metadata.num_columns)]
        statistics = next((chunk.statistics for chunk in chunks if chunk.path_in_schema == leaf), None)
        return statistics is not None and statistics.has_null_count and statistics.null_count == 0


def _starts(rows: int, step: int, title: str) -> Iterator[int]:
    return iter(shown(range(0, rows, step), title, -(-rows // step)))


def _lazy(table: pa.Table) -> pl.LazyFrame:
    return pl.DataFrame(pl.from_arrow(table)).lazy()


def _features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    """Return what `datasets` keeps beside a table of its columns: those of one ``_type`` each."""
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {column: kind for column, kind in features.items() if isinstance(kind, dict)}


def _stated(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the modalities of columns of files, as `datasets` states them: ``Image``, ``Audio``, ``Video``."""
    types = {column: kind.get("_type", "").lower() for column, kind in _features(metadata).items()}
    return {column: name for column, name in types.items() if name in MODALITIES}


def _classes(metadata: Mapping[bytes, bytes]) -> dict[str, dict[str, str]]:
    """Return the names of classes that `datasets` keeps beside a table: a column to its numbers, each with its name."""
    features = _features(metadata)
    named = {column: kind["names"] for column, kind in features.items() if kind.get("_type") == "ClassLabel"}
    return {
        column: dict(zip(map(str, range(len(names))), names, strict=True)) for column, names in named.items()
    }


def _is_scalar(schema: Mapping[str, Any], name: str) -> bool:
    kind = schema[name]
    return kind.is_numeric() or kind in _WORDS


def _is_label(kind: Any) -> bool:
    """Return whether a column of lists may be a label: of texts, or of two numbers as far as its type says."""
    numbers = isinstance(kind, pl.Array | pl.List) and kind.inner.is_numeric()
    return (isinstance(kind, pl.List) and kind.inner == pl.String) or (
        numbers and (isinstance(kind, pl.List) or kind.size == _POINT)
    )


def _label(name: str) -> pl.Expr:
    """Return a column of lists as text."""
    return pl.col(name).map_elements(lambda cell: label_text(cell.to_list()), return_dtype=pl.String)


def _text(schema: Mapping[str, Any], name: str) -> pl.Expr:
    """Return a column as text, blank ones as null; whole numbers have no decimal point."""
    column = pl.col(name)
    if schema[name].is_float():
        number = column.cast(pl.Int64, strict=False)  # null beyond 64 bits
        whole = column.is_finite() & (column == column.round()) & number.is_not_null()
        return pl.when(whole).then(number.cast(pl.String)).otherwise(column.cast(pl.String))
    text = column.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def _picture_columns(path: str, schema: Mapping[str, Any], name: str) -> list[pl.Expr]:
    """Return the picture's name, and the column of its bytes for rows that hold them."""
    kind, column, nothing = schema[name], pl.col(name), pl.lit(None, dtype=pl.String)
    if _has(kind, "bytes"):
        held = column.struct.field("bytes").is_not_null()
        named = column.struct.field("path").cast(pl.String) if _has(kind, "path") else nothing
    elif kind == pl.Binary:
        held, named = column.is_not_null(), nothing
    elif _is_scalar(schema, name) and not kind.is_numeric():
        held, named = pl.lit(False), column.cast(pl.String)
    else:
        raise ValueError(
            f"{path}: the column {name} holds {kind}; expected paths of pictures, or their bytes as `datasets` has them"
            f"{ONE_A_ROW if isinstance(kind, pl.List) else ''}"
        )
    named = named.str.strip_chars().str.replace(r"^(\./)+", "")
    return [
        pl.when(named != "").then(named).alias("picture"),
        pl.when(held).then(pl.lit(name)).otherwise(nothing).alias("column"),
    ]


def _caption_columns(path: str, schema: Mapping[str, Any], names: Sequence[str]) -> list[pl.Expr]:
    """Return the captions of each row, those of several columns in one list; none where there are no such columns."""
    each = [_captions(path, schema, name) for name in names]
    return [pl.concat_list(each).alias("captions")] if each else []


def _captions(path: str, schema: Mapping[str, Any], name: str) -> pl.Expr:
    """Return the captions of each row in a column, blank ones dropped, or the one that a template joins."""
    if is_template(name):
        fill = Template(name).fill
        texts = pl.struct(_captions(path, schema, column).alias(column) for column in columns_in(name))
        joined = texts.map_elements(fill, return_dtype=pl.String)
        return pl.concat_list(joined).list.eval(pl.element().filter(pl.element() != ""))
    kind = schema[name]
    if isinstance(kind, pl.List) and kind.inner == pl.String:
        texts = pl.col(name)
    elif _is_scalar(schema, name):
        texts = pl.concat_list(_text(schema, name))
    else:
        of_files = isinstance(kind, pl.List) and (kind.inner == pl.Binary or _has(kind.inner, "bytes"))
        raise ValueError(
            f"{path}: the column {name} holds {kind}; expected texts or lists of texts{ONE_A_ROW * of_files}"
        )
    stripped = texts.list.eval(pl.element().str.strip_chars())
    return stripped.list.eval(pl.element().filter(pl.element() != "")).fill_null([])
