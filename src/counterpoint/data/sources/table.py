"""Pairs in a CSV, TSV, JSONL or Parquet table: a picture and a caption a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from ._record import CAPTION_COLUMNS, SPLITS, Record

SUFFIXES = {".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"}
PICTURE_COLUMNS = ("file_name", "image", "image_path", "filepath", "path", "file")


def read(path: Path) -> Iterable[Record]:
    try:
        frame = _frame(path)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as {path.suffix}: {error}") from error
    picture = _column(frame, PICTURE_COLUMNS, path, "picture")
    caption = _column(frame, CAPTION_COLUMNS, path, "caption")
    extra = [
        name
        for name, kind in frame.schema.items()
        if name not in {picture, caption, "split", "id"} and kind in (pl.String, pl.Categorical)
    ]
    merged: dict[Path, Record] = {}
    for number, row in enumerate(frame.iter_rows(named=True)):
        texts = row[caption] if isinstance(row[caption], list) else [row[caption]]
        captions = tuple(str(t).strip() for t in texts if t is not None and str(t).strip())
        if not captions or row[picture] is None:
            raise ValueError(f"{path}, row {number + 1}: an empty {caption if row[picture] else picture}")
        side = row.get("split")
        if side is not None and str(side).lower() not in SPLITS:
            raise ValueError(f"{path}, row {number + 1}: split {side!r} is none of train, validation, test")
        place = Path(str(row[picture]))
        place = place if place.is_absolute() else path.parent / place
        labels = {name: str(row[name]) for name in extra if row[name] is not None}
        identity = int(row["id"]) if isinstance(row.get("id"), int) else len(merged)
        record = Record(
            identity, place, captions, SPLITS[str(side).lower()] if side is not None else None, labels
        )
        if place in merged:
            before = merged[place]
            record = Record(before.id, place, (*before.captions, *captions), before.split, before.labels)
        merged[place] = record
    if len({r.id for r in merged.values()}) != len(merged):
        raise ValueError(f"{path}: the column id holds a value twice")
    return merged.values()


def _frame(path: Path) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return pl.read_parquet(path, glob=False)
    if path.suffix in {".jsonl", ".ndjson"}:
        return pl.read_ndjson(path)
    return pl.read_csv(path, separator="\t" if path.suffix == ".tsv" else ",", glob=False)


def _column(frame: pl.DataFrame, names: Sequence[str], path: Path, what: str) -> str:
    for name in names:
        if name in frame.columns:
            return name
    raise ValueError(
        f"{path}: no column for the {what}; expected one of {', '.join(names)}, found {frame.columns}"
    )
