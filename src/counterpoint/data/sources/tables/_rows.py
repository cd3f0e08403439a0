"""From the rows of a table to records: one for each picture, with all its captions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from ....modalities import MODALITIES
from .._files.locations import is_url, sibling
from .._ledger import Ledger
from .._names import SPLITS, modality_of
from .._options import FACTS
from .._progress import shown
from .._record import LABEL, Records
from .._source import FileSpan
from ._locating import located
from ._roles import Roles

ABSOLUTE = r"^(/|\\|[A-Za-z]:[\\/]|[a-z][a-z0-9+.-]*://)"

FOLDERS = ("data", "metadata", "captions")
"""Names of folders for the tables that describe the folder above."""
_TOLD = 1000  # names of files whose endings tell the modality
ALONE = "no column of captions, read without"
NUL, NO_FILE = "NUL in a name", "no such file"
ADDRESS = "address of another machine (--allow-outside fetches such files)"
LEADING_OUT = "path that leads out of the table's folder (--allow-outside reads such)"

EMPTY = pl.DataFrame(
    schema={
        "picture": pl.String,
        "column": pl.String,
        "modality": pl.String,
        "captions": pl.List(pl.String),
        "id": pl.String,
        "split": pl.String,
        "group": pl.String,
    }
)
"""Columns of rows: the picture's name; the column that holds its bytes, if one does; the modality, if a name says it;
captions, none of them blank."""


def records_of(
    path: str,
    roles: Roles,
    blocks: Iterable[pl.DataFrame],
    ledger: Ledger,
    *,
    outside: bool = False,
    span: FileSpan | None = None,
) -> Records:
    """Return the records of a table; rows with one picture are one record with several captions.

    Args:
        path: of the table: files are named from its folder on.
        roles: of its columns.
        blocks: its rows, in columns like those of `EMPTY`, and labels; without captions it is of pictures alone.
        ledger: is told what is left out.
        outside: read files that are not in the table's folder, or below it.
        span: the stretch of the table that the rows are; None for all of it.

    Raises:
        ValueError: if the rows contradict each other.
    """
    parts = list(blocks)
    captioned = all("captions" in part.columns for part in parts)
    rows = pl.concat([EMPTY, *parts], how="diagonal")
    rows = rows.with_row_index("row", offset=1 if span is None else span.before + 1)
    rows = sided(path, rows, whole=span is None)
    name = pl.col("picture")
    inline = pl.col("column").is_not_null()
    sound = without(rows, ~inline & name.is_null(), ledger, path, "no picture named")
    if captioned:
        sound = without(sound, pl.col("captions").list.len() == 0, ledger, path, "empty caption")
    else:
        ledger.add("guessed", ALONE, path, detail="--columns text=NAME says which column captions are in")
    sound = without(sound, name.str.contains("\0", literal=True).fill_null(False), ledger, path, NUL)
    root = root_of(path, sound.filter(~inline)["picture"])
    if not sound["column"].is_not_null().any():
        sound = sound.with_columns(located(root, sound["picture"]))
    if not outside:
        if not is_url(root):
            sound = without(sound, ~inline & is_address(name), ledger, path, ADDRESS)
        leading = leading_out_of(root, sound["picture"]) & sound["column"].is_null()
        sound = without(sound, leading, ledger, path, LEADING_OUT)
    file = pl.when(name.str.contains(ABSOLUTE)).then(name).otherwise(pl.lit(root) + name)
    sound = sound.with_columns(
        file=pl.when(inline).then(pl.lit(path)).otherwise(file),
        offset=pl.when(inline).then(pl.col("row").cast(pl.Int64) - 1),
    )
    _agree(path, sound)
    stated = sound["modality"].drop_nulls()
    main = (
        stated[0]
        if len(stated)
        else modality_of(sound["picture"].drop_nulls().head(_TOLD)) or MODALITIES.names()[0]
    )
    labels = [column for column in sound.columns if column.startswith(LABEL)]
    joined = sound.group_by("file", "offset", maintain_order=True).agg(
        pl.col("row", "picture", "column", "id", "group", *labels).first(),
        pl.col("split").drop_nulls().first(),
        pl.col("captions").explode(),
    )
    joined = without(joined, _missing(joined), ledger, path, NO_FILE)
    asset = pl.struct(
        "file", pl.col("column").alias("member"), "offset", pl.lit(None, pl.Int64).alias("size")
    )
    return Records(
        joined.select(
            asset.alias(main),
            *([pl.col("captions").alias("text")] if captioned else []),
            pl.coalesce("id", "picture", pl.format("row {}", "row")).alias("key"),
            *FACTS,
            pl.format("{}, row {}", pl.lit(path), "row").alias("where"),
            *labels,
        ),
        {main: main} | ({"text": "text"} if captioned else {}),
        roles.headers(main),
    )


def is_address(name: pl.Expr) -> pl.Expr:
    """Return which names are addresses of another machine: URLs of any scheme but ``file``; a null is none.

    >>> names = pl.Series("name", ["sftp://host/a.png", "file:///a.png", "c://a.png", None])
    >>> names.to_frame().select(is_address(pl.col("name"))).to_series().to_list()
    [True, False, False, False]
    """
    has_scheme = name.str.contains(r"(?i)^[a-z][a-z0-9+.-]+://")  # one letter is a drive
    return (has_scheme & ~name.str.contains(r"(?i)^file://")).fill_null(False)


def root_of(path: str, pictures: pl.Series) -> str:
    """Return the folder that pictures are named from: the table's, or the one above where the first is there alone."""
    table_folder, above = sibling(path, ""), sibling(path, f"..{os.sep}")
    if is_url(path) or Path(path).absolute().parent.name not in FOLDERS or not len(pictures):
        return table_folder
    here, there = (os.path.isfile(folder + pictures[0]) for folder in (table_folder, above))
    return table_folder if here or not there else f"{os.path.normpath(above)}{os.sep}"


def leading_out_of(root: str, pictures: pl.Series) -> pl.Series:
    """Return which names of pictures lead out of a folder; links that lie in it lead to where they say."""
    doubtful = pictures.str.contains(ABSOLUTE) | pictures.str.contains(r"(^|[/\\])\.\.([/\\]|$)")
    doubtful = doubtful.fill_null(False)
    if not doubtful.any():
        return doubtful
    inside = f"{os.path.abspath(root)}{os.sep}" if not is_url(root) else root

    def leads_out(name: str) -> bool:
        if is_url(root) or is_url(name):
            return ".." in name.split("/") or not name.startswith(inside)
        path = os.path.join(root, name)
        plain = os.path.abspath(path)
        if not plain.startswith(inside):
            return True
        # The system goes up from where a link leads to, and not from where it lies.
        return ".." in name and os.path.realpath(path) != os.path.realpath(plain)

    leading = [doubt and leads_out(name) for name, doubt in zip(pictures, doubtful, strict=True)]
    return pl.Series(leading, dtype=pl.Boolean)


def without(
    rows: pl.DataFrame,
    bad: pl.Expr | pl.Series,
    ledger: Ledger,
    path: str,
    reason: str,
    *,
    named: str = "picture",
) -> pl.DataFrame:
    """Return rows but some, which are entered into the ledger with the file that a column names."""
    out = rows.filter(bad)
    ledger.add_all("lost", reason, path, out["row"], out[named].fill_null(""))
    return rows.filter(~bad)


def sided(path: str, rows: pl.DataFrame, *, whole: bool) -> pl.DataFrame:
    """Put the names of splits into ours; without any, files that all lie in folders of splits have theirs.

    One folder of a split says nothing of all of a table; of a part, other parts may lie in others.
    """
    stated = pl.col("split").str.strip_chars().str.to_lowercase()
    rows = rows.with_columns(side=stated.replace_strict(SPLITS, default=None, return_dtype=pl.String))
    wrong = rows.filter(pl.col("split").is_not_null() & pl.col("side").is_null())
    if len(wrong):
        row, split = wrong["row"][0], wrong["split"][0]
        raise ValueError(f"{path}, row {row}: split {split!r} is none of train, validation, test")
    if rows["side"].is_null().all():
        folder = pl.col("picture").str.extract(r"^(?:\./)?([^/\\]+)[/\\]").str.to_lowercase()
        sides = rows.select(folder.replace_strict(SPLITS, default=None, return_dtype=pl.String)).to_series()
        if sides.is_not_null().all() and (sides.n_unique() > 1 or not (whole or sides.eq("train").all())):
            rows = rows.with_columns(side=sides)
    return rows.with_columns(split=pl.col("side")).drop("side")


def _agree(path: str, rows: pl.DataFrame) -> None:
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
        raise ValueError(
            f"{path}: the column id holds a value twice: {value} (rows {a} and {b}); "
            "number the rows anew, or call the column otherwise"
        )


def _missing(joined: pl.DataFrame) -> pl.Series:
    """Return which pictures are in files that do not exist; those in a store are looked for when they are read."""
    places = zip(joined["file"], joined["column"].is_not_null(), strict=True)
    missing = [
        not held and not is_url(file) and not os.path.isfile(file)
        for file, held in shown(places, "looking for pictures", len(joined))
    ]
    return pl.Series(missing, dtype=pl.Boolean)
