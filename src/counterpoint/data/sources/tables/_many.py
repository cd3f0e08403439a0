"""From the rows of a table of several columns to records: one for each row, with gaps where cells are empty."""

from __future__ import annotations

from collections.abc import Iterable
from os.path import isfile

import polars as pl

from ....modalities import MODALITIES
from .._files.locations import is_url
from .._ledger import Ledger
from .._options import FACTS
from .._record import LABEL, VALUE, Records
from .._source import FileSpan
from ._locating import located
from ._roles import TableColumns
from ._rows import (
    ABSOLUTE,
    ADDRESS,
    LEADING_OUT,
    NO_FILE,
    NUL,
    is_address,
    leading_out_of,
    root_of,
    sided,
    without,
)

NAME, HELD, CELL = "name: ", "held: ", "cell: "
"""Beginnings of the columns for each of the data: of files their names, and whether the cell itself holds the example;
of texts these, a list each."""
LINE = "line"
"""The column with the line of each row in a text."""


def records_of(
    path: str,
    roles: TableColumns,
    blocks: Iterable[pl.DataFrame],
    ledger: Ledger,
    *,
    outside: bool = False,
    span: FileSpan | None = None,
) -> Records:
    """Return the records of a table.

    Args:
        path: of the table: files are named from its folder on.
        roles: its columns by what they are for.
        blocks: its rows: `NAME` and `HELD` for each column of files, `CELL` of texts, values, facts and labels.
        ledger: is told what is left out.
        outside: read files that are not in the table's folder, or below it.
        span: the stretch of the table that the rows are; None for all of it.

    Raises:
        ValueError: if two rows have one id, or a split is unknown.
    """
    files = [made for made in roles.made if made.held == "files"]
    rows = pl.concat(blocks, how="diagonal_relaxed")
    missing = [name for name in FACTS if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)
    rows = rows.with_row_index("row", offset=1 if span is None else span.before + 1)
    named = [pl.col(NAME + made.name) for made in files]
    rows = rows.with_columns(pl.coalesce(*named, pl.lit(None, pl.String)).alias("picture"))
    rows = sided(path, rows, whole=span is None)
    for name in (NAME + made.name for made in files):
        bad = pl.col(name).str.contains("\0", literal=True).fill_null(False)
        rows = without(rows, bad, ledger, path, NUL, named=name)
    held_in = pl.col(LINE if LINE in rows.columns else "row").cast(pl.Int64) - 1
    root = root_of(path, rows["picture"].drop_nulls())
    for made in files:
        rows = _placed(path, root, rows, made.name, made.headers[0], held_in, ledger, outside=outside)
    twice = rows.drop_nulls("id").filter(pl.col("id").is_duplicated())
    if len(twice):
        a, b, *_ = twice.filter(pl.col("id") == twice["id"][0])["row"]
        raise ValueError(
            f"{path}: the column id holds a value twice: {twice['id'][0]} (rows {a} and {b}); "
            "number the rows anew, or call the column otherwise"
        )
    requests: set[str] = set()
    for made in roles.made:
        group = MODALITIES.get(made.modality).group
        if group == 1:
            continue
        incomplete = pl.col(CELL + made.name).list.len() % group != 0
        if made.headers[0] in requests:  # another reply to the same request, which a row may lack
            gap = pl.lit([], pl.List(pl.String))
            rows = rows.with_columns(
                pl.when(incomplete).then(gap).otherwise(CELL + made.name).alias(CELL + made.name)
            )
            continue
        requests.add(made.headers[0])
        if len(broken := rows.filter(incomplete)):
            raise ValueError(
                f"{path}, row {broken['row'][0]}: {' or '.join(made.headers)} is empty: a request needs its reply; "
                "fill the cell in, or take the row out"
            )
    alone = rows["picture"].drop_nulls().is_unique().all()
    cells = [pl.col(CELL + made.name).alias(made.name) for made in roles.made if made.held != "values"]
    return Records(
        rows.select(
            *cells,
            *(name for name in rows.columns if name.startswith((VALUE, LABEL))),
            pl.coalesce("id", *(["picture"] if alone else []), pl.format("row {}", "row")).alias("key"),
            *FACTS,
            pl.format("{}, row {}", pl.lit(path), "row").alias("where"),
        ),
        roles.modalities,
        roles.headers,
        gaps=True,
    )


def _placed(
    path: str,
    root: str,
    rows: pl.DataFrame,
    column: str,
    header: str,
    held_in: pl.Expr,
    ledger: Ledger,
    *,
    outside: bool,
) -> pl.DataFrame:
    """Put the places of a column's examples into its column, null where a cell is empty."""
    name, held = pl.col(NAME + column), pl.col(HELD + column)
    rows = rows.with_columns(located(root, rows[NAME + column]))
    if not outside:
        if not is_url(root):
            rows = without(rows, ~held & is_address(name), ledger, path, ADDRESS, named=NAME + column)
        leading = leading_out_of(root, rows[NAME + column]) & ~rows[HELD + column]
        rows = without(rows, leading, ledger, path, LEADING_OUT, named=NAME + column)
    file = pl.when(name.str.contains(ABSOLUTE)).then(name).otherwise(pl.lit(root) + name)
    asset = pl.struct(
        pl.when(held).then(pl.lit(path)).otherwise(file).alias("file"),
        pl.when(held).then(pl.lit(header)).alias("member"),
        pl.when(held).then(held_in).alias("offset"),
        pl.lit(None, pl.Int64).alias("size"),
    )
    rows = rows.with_columns(asset.alias(CELL + column))
    places = zip(rows[CELL + column].struct.field("file"), rows[HELD + column], strict=True)
    gone = [file is not None and not held and not is_url(file) and not isfile(file) for file, held in places]
    return without(rows, pl.Series(gone, dtype=pl.Boolean), ledger, path, NO_FILE, named=NAME + column)
