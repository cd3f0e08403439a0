"""Rows made of records: their ids, what binds them, and the sides that they are on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
import polars as pl
from jaxtyping import Int

from ...modalities import MODALITIES
from ..base import Splits
from ..sides import SIDES
from ..sources import Records
from .division import ROW, Division, Links


def identities(name: str, records: Records) -> tuple[Int[np.ndarray, " N"], pl.Series]:
    """Return an integer a row, and what the user calls it: an id, or else the picture's name.

    Ids that are whole numbers of at most 64 bits stay as they are; of others, a hash is taken.
    """
    stated, keys = records.frame["id"], records.frame["key"]
    if stated.null_count() == len(stated):
        return np.arange(len(stated)), keys
    numbers = stated.cast(pl.Int64, strict=False)
    if (numbers.cast(pl.String) == stated).fill_null(False).all():
        return numbers.to_numpy(), keys
    hashes = [int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) >> 1 for key in keys]
    if len(set(hashes)) < len(hashes):
        twice = keys.filter(keys.is_duplicated())[0]
        raise ValueError(f"{name}: two rows are called {twice!r}; give every row an id of its own")
    return np.asarray(hashes, dtype=np.int64), keys


def links_of(
    records: Records, digests: Mapping[str, pl.Series], hashes: Sequence[bytes | None]
) -> list[Links]:
    """Return what binds rows: one group, one caption, one picture, one sound, one look.

    Args:
        records: all of them.
        digests: of their files by column, null for one that was not read.
        hashes: of how they look, None for one that is not known.
    """
    looks = Links.of_looks(hashes)
    group = records.frame["group"]
    held = {column: MODALITIES.get(it).held for column, it in records.columns.items() if it in MODALITIES}
    # Conversations are not compared: many of them hold the same question or the same answer.
    texts = [
        column
        for column, form in held.items()
        if form == "texts"
        and MODALITIES.get(records.columns[column]).group == 1
        and records.having(column).any()
    ]
    values = {column: records.values(column) for column, form in held.items() if form == "values"}
    links = [
        *([] if group.is_null().all() else [Links.of("group", group)]),
        *(Links.of_texts(noun_of(records, column), records.frame[column]) for column in texts),
        *(Links.of(noun_of(records, column), of_column) for column, of_column in digests.items()),
        *(Links.of(noun_of(records, column), _joined(it)) for column, it in values.items()),
        *([looks] if len(looks.rows) or looks.too_many else []),
    ]
    # Where nothing binds a row, its hash is of what it is called; rows of two shards may be called alike.
    key, times = pl.col("key"), pl.int_range(pl.len()).over("key")
    called = pl.when(times == 0).then(key).otherwise(pl.format("{} {}", key, times))
    return [*links, Links.of(ROW, records.frame.select(called).to_series())]


def _joined(values: pl.DataFrame) -> pl.Series:
    """Return the values of each row as one text; null, which binds nothing, where nothing is known."""
    text = pl.concat_str(pl.all().fill_null(""), separator="\0")
    known = pl.any_horizontal(pl.all().is_not_null())
    return values.select(pl.when(known).then(text)).to_series()


def subsets(division: Division) -> np.ndarray:
    """Return ``"leaked"`` and ``"clean"`` for held-out rows, or ``"all"`` for every row where nothing leaked."""
    leaked = np.any(list(division.leaked.values()), axis=0)
    if not leaked.any():
        return np.full(len(leaked), "all")
    return np.where(division.sides == "train", "training", np.where(leaked, "leaked", "clean"))


def splits(sides: np.ndarray) -> Splits:
    """Return the rows of every side."""
    rows = {side: np.flatnonzero(sides == side) for side in SIDES}
    held_out = {"held out": rows["validation"]} if len(rows["validation"]) else {}
    return Splits(rows["train"], held_out, {"held out": rows["test"]})


def noun_of(records: Records, column: str) -> str:
    """Return what one example of a column is called: by its modality, or, of further columns of it, by their name."""
    if column != records.columns[column]:
        return column
    return "caption" if column == "text" else MODALITIES.get(records.columns[column]).one
