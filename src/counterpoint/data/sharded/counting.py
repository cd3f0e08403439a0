"""The one pass over the shards of a source that an index counts: what each holds, in a log, resumed if killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from ...execution import helpers
from .. import sources
from ..sides import SIDES
from ..sources import Records, Shard
from .beside import records_beside
from .copies import opened
from .labels import Told, labels_told

_FILE = "counted.jsonl"
_FEW = 8  # shards that no second process is begun for


def usable(records: Records, columns: Iterable[str]) -> Records:
    """Return those records that have something in all of some columns."""
    having = pl.repeat(True, len(records), eager=True)
    for column in columns:
        having &= records.having(column)
    return records.with_frame(records.frame.filter(having))


def of_side(records: Records, side: str) -> Records:
    """Return the records of a split; those of none are trained on."""
    return records.with_frame(records.frame.filter(pl.col("split").fill_null("train") == side))


def count_shards(
    shards: Sequence[Shard],
    columns: Mapping[str, str],
    folder: Path,
    jobs: int,
    on_shard: Callable[[int, int], None],
) -> dict[str, dict[str, Any]]:
    """Return what every shard holds; what an earlier process counted of a shard in its present state counts."""
    known = {one["name"]: _counts(one) for one in _logged(folder, shards, columns)}
    todo = [shard for shard in shards if shard.name not in known]
    on_shard(len(shards) - len(todo), len(shards))
    with (folder / _FILE).open("ab") as file:
        for one in _each(partial(_count, list(columns)), todo, min(jobs, len(todo) // _FEW)):
            # The end of a line that a kill cut short is not the beginning of this one.
            file.write(b"\n" + json.dumps(one).encode())
            file.flush()
            known[one["name"]] = _counts(one)
            on_shard(len(known), len(shards))
    return known


def labels_read(folder: Path, shards: Sequence[Shard], columns: Iterable[str]) -> Iterator[tuple[str, Told]]:
    """Yield the names of the shards that were read, and not only counted, each with what was told of its labels."""
    return (
        (one["name"], one["labels"]) for one in _logged(folder, shards, columns) if one["labels"] is not None
    )


def _logged(folder: Path, shards: Sequence[Shard], columns: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield what was counted of each shard that is still what it was."""
    still = {shard.name: (shard.state, list(columns)) for shard in shards}
    if not (folder / _FILE).exists():
        return
    with (folder / _FILE).open("rb") as file:
        for line in file:
            try:
                one = json.loads(line)
            except ValueError:  # empty, or cut short by a kill
                continue
            if "labels" not in one:  # of an earlier version, which knew no labels
                continue
            if still.get(one["name"]) == (one["state"], one["columns"]):
                del still[one["name"]]  # it may be there twice
                yield one


def _counts(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is held of a shard: all but its records' labels."""
    return {name: value for name, value in one.items() if name != "labels"}


def _each(
    count: Callable[[Shard], dict[str, Any]], shards: Sequence[Shard], jobs: int
) -> Iterator[dict[str, Any]]:
    if jobs < 2:
        yield from map(count, shards)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        with helpers.begun():
            counting = [pool.submit(count, shard) for shard in shards]
        for done in as_completed(counting):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _count(columns: list[str], shard: Shard) -> dict[str, Any]:
    """Return how many records of each side a shard holds, those without a split under an empty name, and their labels.

    Of a shard that is not read no labels are known.
    """
    told: dict[str, Any] = {"name": shard.name, "state": shard.state, "columns": columns}
    known = shard.records if shard.records is not None else records_beside(shard.place)
    if known is not None:
        told[shard.split or sources.split_of(PurePosixPath(shard.place).name) or ""] = known
        return told | {"labels": None}
    records = usable(opened(shard), columns)
    sides = records.frame["split"].fill_null("")
    told |= {side: int((sides == side).sum()) for side in ("", *SIDES)}
    return told | {"labels": labels_told(of_side(records, "train"))}
