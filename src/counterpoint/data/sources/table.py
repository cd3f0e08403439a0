"""Pairs in a CSV, TSV, JSONL or Parquet table: a picture and its captions a row."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, final

import polars as pl

from ._ledger import Ledger
from ._names import CAPTION_COLUMNS, PICTURE_COLUMNS, PICTURES, SPLITS, split_of
from ._progress import shown
from ._record import LABEL, Records
from ._source import Shard, Source, state_of
from ._text import as_text, opened

_DESCRIBING = {"metadata", "captions", "data"}  # names of a table that describes its folder
_FACTS = ("id", "split", "group")
_BLOCK = 50_000  # rows that are Python objects at once
_BYTES_BLOCK = 512  # rows of a table that holds pictures
_ABSOLUTE = r"^(/|\\|[A-Za-z]:[\\/])"


@final
class Table(Source):
    """Tables with a row for each picture and caption: CSV, TSV, JSON lines or Parquet.

    A folder is read by its tables where it has one that is called ``metadata``, ``captions`` or ``data``, or, in itself
    or in ``data``, some that are called after splits (``train.csv``, ``test-00000-of-00002.parquet``) or are Parquet.
    """

    suffixes = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
    precedence = 1

    def recognises(self, written: str) -> bool:
        path = Path(written)
        return bool(_chosen_tables(path)[0]) if path.is_dir() else path.suffix.lower() in self.suffixes

    def shards(self, written: str, ledger: Ledger) -> list[Shard]:
        path = Path(written)
        taken, beside = _chosen_tables(path) if path.is_dir() else ({path: None}, [])
        for other in beside:
            ledger.add("passed over", "beside what is read", other)
        return [
            Shard(each.name, str(each), "table", state_of([each]), each.stem if len(taken) > 1 else "", split)
            for each, split in taken.items()
        ]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read a table; rows with one picture are one record with several captions.

        Raises:
            ValueError: if it is no table, lacks a column for the picture or the caption, or contradicts itself.
        """
        path = Path(shard.place)
        blocks = _parquet(path) if path.suffix.lower() == ".parquet" else _texts(path, ledger)
        rows = pl.concat([_EMPTY, *blocks], how="diagonal").with_row_index("row", offset=1)
        rows = _sided(path, rows)
        name = pl.col("picture")
        inline = pl.col("column").is_not_null()
        sound = _without(rows, ~inline & name.is_null(), ledger, path, "no picture named")
        sound = _without(sound, pl.col("captions").list.len() == 0, ledger, path, "empty caption")
        sound = _without(
            sound, name.str.contains("\0", literal=True).fill_null(False), ledger, path, "NUL in a name"
        )
        file = (
            pl.when(name.str.contains(_ABSOLUTE))
            .then(name)
            .otherwise(pl.lit(f"{path.parent}{os.sep}") + name)
        )
        sound = sound.with_columns(
            file=pl.when(inline).then(pl.lit(str(path))).otherwise(file),
            offset=pl.when(inline).then(pl.col("row").cast(pl.Int64) - 1),
        )
        _agree(path, sound)
        labels = [column for column in sound.columns if column.startswith(LABEL)]
        joined = sound.group_by("file", "offset", maintain_order=True).agg(
            pl.col("row", "picture", "column", "id", "group", *labels).first(),
            pl.col("split").drop_nulls().first(),
            pl.col("captions").explode(),
        )
        joined = _without(joined, _missing(joined), ledger, path, "no such file")
        place = pl.struct(
            "file", pl.col("column").alias("member"), "offset", pl.lit(None, pl.Int64).alias("size")
        )
        return Records(
            joined.select(
                place.alias("image"),
                pl.col("captions").alias("text"),
                pl.coalesce("id", "picture", pl.format("row {}", "row")).alias("key"),
                *_FACTS,
                pl.format("{}, row {}", pl.lit(str(path)), "row").alias("where"),
                *labels,
            )
        )


_EMPTY = pl.DataFrame(
    schema={
        "picture": pl.String,
        "column": pl.String,
        "captions": pl.List(pl.String),
        "id": pl.String,
        "split": pl.String,
        "group": pl.String,
    }
)
"""Columns of rows: the picture's name; the column that holds its bytes, if one does; captions, none of them blank."""


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


def _without(
    rows: pl.DataFrame, bad: pl.Expr | pl.Series, ledger: Ledger, path: Path, reason: str
) -> pl.DataFrame:
    out = rows.filter(bad)
    ledger.add_all("lost", reason, path, out["row"], out["picture"].fill_null(""))
    return rows.filter(~bad)


def _sided(path: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Put the names of splits into ours; without any, files that all lie in folders of splits have theirs."""
    stated = pl.col("split").str.strip_chars().str.to_lowercase()
    rows = rows.with_columns(side=stated.replace_strict(SPLITS, default=None, return_dtype=pl.String))
    wrong = rows.filter(pl.col("split").is_not_null() & pl.col("side").is_null())
    if len(wrong):
        row, said = wrong["row"][0], wrong["split"][0]
        raise ValueError(f"{path}, row {row}: split {said!r} is none of train, validation, test")
    if rows["side"].is_null().all():
        folder = pl.col("picture").str.extract(r"^(?:\./)?([^/\\]+)[/\\]").str.to_lowercase()
        sides = rows.select(folder.replace_strict(SPLITS, default=None, return_dtype=pl.String)).to_series()
        if sides.is_not_null().all() and sides.n_unique() > 1:
            rows = rows.with_columns(side=sides)
    return rows.with_columns(split=pl.col("side")).drop("side")


def _agree(path: Path, rows: pl.DataFrame) -> None:
    """Refuse a picture that is in two splits, and an id that two pictures have."""
    sides = rows.drop_nulls("split").unique(["file", "offset", "split"], maintain_order=True)
    torn = sides.group_by("file", "offset", maintain_order=True).agg(
        "row", "split", pl.col("picture").first()
    )
    for one in torn.filter(pl.col("row").list.len() > 1).head(1).iter_rows(named=True):
        (a, b, *_), (this, other, *_) = one["row"], one["split"]
        raise ValueError(f"{path}: {one['picture']} is in {this} in row {a} and in {other} in row {b}")
    pictures = (
        rows.drop_nulls("id").group_by("file", "offset", maintain_order=True).agg(pl.col("id", "row").first())
    )
    twice = pictures.group_by("id", maintain_order=True).agg("row").filter(pl.col("row").list.len() > 1)
    for value, (a, b, *_) in twice.head(1).iter_rows():
        raise ValueError(f"{path}: the column id holds a value twice: {value} (rows {a} and {b})")


def _missing(joined: pl.DataFrame) -> pl.Series:
    """Return which pictures are in files that do not exist."""
    places = zip(joined["file"], joined["column"].is_not_null(), strict=True)
    missing = [
        not held and not os.path.isfile(file)
        for file, held in shown(places, "looking for pictures", len(joined))
    ]
    return pl.Series(missing, dtype=pl.Boolean)


# --- texts: CSV, TSV, JSON lines


def _texts(path: Path, ledger: Ledger) -> Iterator[pl.DataFrame]:
    rows = (
        _json_rows(path, ledger) if path.suffix.lower() in {".jsonl", ".ndjson"} else _csv_rows(path, ledger)
    )
    picture = caption = ""
    blocks = iter(lambda: list(islice(rows, _BLOCK)), [])
    for block in shown(blocks, f"reading {path.suffix}", None):
        if not picture:
            columns = list(dict.fromkeys(name for _, row in block for name in row))
            picture, caption = _chosen(path, columns)
        yield _block(path, block, picture, caption)


def _chosen(path: Path, columns: Sequence[str]) -> tuple[str, str]:
    """Return the names of the columns of the picture and the caption."""
    chosen = []
    for names, what in ((PICTURE_COLUMNS, "picture"), (CAPTION_COLUMNS, "caption")):
        here = [name for name in names if name in columns]
        if not here:
            raise ValueError(
                f"{path}: no column for the {what}; expected one of {', '.join(names)}, found {list(columns)}"
            )
        chosen.append(here[0])
    return chosen[0], chosen[1]


def _block(
    path: Path, block: Sequence[tuple[int, Mapping[str, Any]]], picture: str, caption: str
) -> pl.DataFrame:
    """Return some rows, each with its line in the file, as columns of text."""
    names = dict.fromkeys(n for _, row in block for n in row if n not in {picture, caption, *_FACTS})
    columns: dict[str, Any] = {
        "picture": [_named(path, line, picture, row.get(picture)) for line, row in block],
        "captions": _lists([_captions(path, line, caption, row.get(caption)) for line, row in block]),
    }
    columns |= {name: [as_text(row.get(name)) for _, row in block] for name in _FACTS}
    columns |= {LABEL + name: [as_text(row.get(name)) for _, row in block] for name in names}
    text = dict.fromkeys(columns, pl.String)
    return pl.DataFrame(columns, schema=text | {"captions": pl.List(pl.String)})


def _named(path: Path, line: int, column: str, value: object) -> str | None:
    if isinstance(value, Mapping):  # as `datasets` writes a picture; its bytes cannot be in a text
        value = value.get("path")
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{path}, line {line}: {column} is {_kind(value)}; expected the path of a picture")
    return re.sub(r"^(\./)+", "", value.strip()) or None if value else None


def _captions(path: Path, line: int, column: str, value: object) -> list[str]:
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
    joined = pl.DataFrame({"row": rows, "text": flat}).group_by("row", maintain_order=True).agg("text")
    every = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.UInt32, eager=True)})
    lists = every.join(joined, on="row", how="left", maintain_order="left")["text"]
    return lists.fill_null(pl.Series([[]], dtype=pl.List(pl.String)))


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return f"an object with {', '.join(map(str, value))}"
    return "a list" if isinstance(value, list) else f"the {type(value).__name__} {value}"


def _json_rows(path: Path, ledger: Ledger) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with opened(path, ledger) as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError as error:
                raise ValueError(f"{path} cannot be read as {path.suffix}: line {line}: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(
                    f'{path}, line {line}: expected an object like {{"file_name": …, "text": …}}'
                )
            yield line, row


def _csv_rows(path: Path, ledger: Ledger) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with opened(path, ledger) as file:
        header = file.readline()
        separator = _separator(path, header)
        names = next(csv.reader([header], delimiter=separator), [])
        names = [name.strip() for name in names]
        picture = next((k for k, name in enumerate(names) if name in PICTURE_COLUMNS), None)
        rows, before = csv.reader(file, delimiter=separator, strict=True), 1
        while True:
            line = before + 1
            try:
                row = next(rows, None)
            except csv.Error as error:
                said = str(error)
                open_quote = "end of data" in said or "field limit" in said
                why = "a quote is opened here and never closed" if open_quote else said
                raise ValueError(f"{path} cannot be read as {path.suffix}: line {line}: {why}") from error
            if row is None:
                return
            before = rows.line_num + 1
            if before > line:
                _one_row(path, line, row, picture, separator)
            if len(row) > len(names) and any(cell.strip() for cell in row[len(names) :]):
                raise ValueError(
                    f"{path}, line {line}: {len(row)} fields, where the header names {len(names)}: "
                    f"put a text that holds {separator!r} in quotes"
                )
            if row:
                yield line, dict(zip(names, row, strict=False))


def _one_row(path: Path, line: int, row: Sequence[str], picture: int | None, separator: str) -> None:
    """Refuse a quoted text that has swallowed the rows after it."""
    below = (line.split(separator) for cell in row for line in cell.splitlines()[1:])
    for cells in below:
        if picture is not None and len(cells) > picture and Path(cells[picture]).suffix.lower() in PICTURES:
            raise ValueError(
                f"{path} cannot be read as {path.suffix}: line {line}: a quote is opened here "
                "and only closed in another row"
            )


def _separator(path: Path, header: str) -> str:
    """Return what separates the columns: what the suffix says, or what makes the header name what is needed."""
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    for separator in (usual, ";", "\t", ",", "|"):
        names = {name.strip() for name in next(csv.reader([header], delimiter=separator), [])}
        if names & {*PICTURE_COLUMNS} and names & {*CAPTION_COLUMNS}:
            return separator
    return usual


# --- Parquet


def _parquet(path: Path) -> Iterator[pl.DataFrame]:
    try:
        schema = pl.scan_parquet(path, glob=False).collect_schema()
    except Exception as error:
        raise ValueError(f"{path} cannot be read as {path.suffix}: {error}") from error
    picture, caption = _chosen(path, list(schema))
    classes = _classes(path)
    values = {
        name: _text(schema, name).replace(classes.get(name, {}))
        for name in schema
        if name not in {picture, caption} and _is_scalar(schema, name)
    }
    columns = [
        *_picture_columns(path, schema, picture),
        _caption_column(path, schema, caption),
        *(value.alias(name if name in _FACTS else LABEL + name) for name, value in values.items()),
    ]
    scan = pl.scan_parquet(path, glob=False)
    total: int = scan.select(pl.len()).collect().item()
    step = _BLOCK if _is_scalar(schema, picture) else _BYTES_BLOCK
    for start in shown(range(0, total, step), f"reading {path.suffix}", -(-total // step)):
        yield scan.slice(start, step).select(columns).collect()


def _classes(path: Path) -> dict[str, dict[str, str]]:
    """Return the names of classes that `datasets` keeps beside a table: a column to its numbers, each with its name."""
    from pyarrow import parquet

    kept = (parquet.read_schema(path).metadata or {}).get(b"huggingface", b"{}")
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


def _picture_columns(path: Path, schema: Mapping[str, Any], name: str) -> list[pl.Expr]:
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


def _caption_column(path: Path, schema: Mapping[str, Any], name: str) -> pl.Expr:
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
