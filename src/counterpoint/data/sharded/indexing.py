"""The index of a source: its shards with what each holds, and what is held out; made once, and resumed if killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, final

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from ...execution import Executor, Listener, Needs, NullListener, Then, leased
from ...execution.executors import LOCAL, executor_of
from ...files import FORMAT, Damaged, read_json, read_table, sweep, write_json, writing
from ...modalities import PAIR
from ...reasons import counted
from .. import sources
from ..base import Rows
from ..listed.division import HELD_OUT
from ..listed.stored import OtherColumns
from ..sides import MOST_HELD_OUT, SIDES
from ..sources import Ledger, Missing, Options, Shard, Span
from .copies import opened
from .counting import count_shards, counted_in, gather, labels_read, of_side, usable
from .held_out import copy_out
from .labels import read_labels, write_labels

FILE = "data-index.json"
"""File that a folder has once it is a whole index."""

_BEGUN, _TABLE, _ROWS, _HELD_OUT = "begun.json", "shards.parquet", "rows.npy", "held-out"
_COLUMNS = {"name": pl.String(), "state": pl.String(), "held_out": pl.String()} | dict.fromkeys(
    SIDES, pl.Int64()
)
# Of each shard; a table of an earlier version has none.
_PLACES = dict.fromkeys(("place", "source", "part", "split"), pl.String()) | {"span": pl.List(pl.Int64)}


class OtherIndex(ValueError):
    """A folder that holds an index of another source, or of what the source is no more."""


class _File(BaseModel):
    """``data-index.json``."""

    model_config = ConfigDict(extra="forbid")
    format: int
    source: str
    columns: dict[str, str]
    held_out: dict[str, int]
    digest: str
    labels: dict[str, tuple[str, ...]] | None = None
    labelled: int = 0


class _Begun(BaseModel):
    """``begun.json``: what an index that is not whole yet will be of."""

    model_config = ConfigDict(extra="forbid")
    format: int
    source: str
    held_out: int


@final
@dataclass(frozen=True)
class Index:
    """An index that is whole, and whose source has the shards that it had, but for some that are lost.

    Attributes:
        folder: of the index.
        source: what it is of, as a user writes it.
        columns: of the data, each with its modality; a record without one of them is left out.
        shards: that were indexed, in their order.
        lost: the numbers of those that are missing or changed by now, each with the reason.
        table: a row a shard: its ``name`` and ``state``, its records by side (``train``, ``validation``, ``test``), and
            the side that all of it is ``held_out`` for, empty for none.
        digest: equal for the same shards in the same states.
        held_out_rows: how many records of each side are copied out.
        labels: the classes of each label; none where an earlier version made the index.
        labelled: how many of the records to train on were read for their labels.
        advice: the command that makes it anew, in words.
    """

    folder: Path
    source: str
    columns: Mapping[str, str]
    shards: Sequence[Shard]
    lost: Mapping[int, str]
    table: pl.DataFrame
    digest: str
    held_out_rows: Mapping[str, int]
    labels: Mapping[str, tuple[str, ...]]
    labelled: int
    advice: str

    @classmethod
    def open(cls, folder: Path) -> Index:
        """Open an index.

        Raises:
            Damaged: if it cannot be read.
            NewerFormat: if a later version wrote it.
            OtherIndex: if it is not whole yet; if its source has further shards now, or the same in another order; if
                an earlier version wrote it, and a shard is missing.
        """
        remedy = f"delete {folder} and make the index again"
        if not (folder / FILE).exists():
            begun = read_json(folder / _BEGUN, _Begun, remedy)
            raise OtherIndex(
                f"the index {folder} is not whole yet: run counterpoint data index {begun.source!r} --out {folder} "
                "again, which goes on, or wait until whoever makes it is done"
            )
        file = read_json(folder / FILE, _File, remedy)
        table = read_table(folder / _TABLE, _COLUMNS, remedy)
        known = _known(table, file.source)
        try:
            now = sources.shards(file.source, Ledger())
            if _differing(table, now, lost=bool(known)):  # an earlier version did not divide large tables
                whole = sources.wholes(file.source, Ledger())
                now = now if _differing(table, whole, lost=bool(known)) else whole
        except Missing as error:  # of a pattern, which stands for nothing then
            now = [shard for shard in known if shard.place not in error.places]
            if not now:
                raise
        advice = f"run counterpoint data index {file.source!r} --out {folder} again"
        if differing := _differing(table, now, lost=bool(known)):
            raise OtherIndex(
                f"the index {folder} is out of date: {differing}; {advice}, which counts what changed"
            )
        there = {shard.name: shard for shard in now}
        return cls(
            folder,
            file.source,
            file.columns,
            [there.get(shard.name, shard) for shard in known] or now,
            _lost(known, there, advice),
            table,
            file.digest,
            file.held_out,
            file.labels or {},
            file.labelled,
            advice,
        )

    @property
    def options(self) -> Options:
        """The user's word on how the source is read."""
        return Options.parse(sources.parted(self.source)[1])

    @property
    def training(self) -> Rows:
        """The number of records of every shard that are trained on; none of one that is held out."""
        return (self.table["train"] * (self.table["held_out"] == "").cast(pl.Int64)).to_numpy()

    def classes(self, rows: int) -> dict[str, Rows]:
        """Return the class of every row by label, −1 where it has none, mapped from files.

        Raises:
            Damaged: if there are not so many rows.
        """
        held = read_labels(self.folder, list(self.labels))
        if any(len(classes) != rows for classes in held.values()):
            raise Damaged(
                self.held_out, f"there are not {rows:,} rows", f"delete {self.folder} and make it again"
            )
        return held

    @property
    def held_out(self) -> Path:
        """The folder of the records that are held out, copied out of the shards."""
        return self.folder / _HELD_OUT

    def rows(self, count: int) -> Rows:
        """Return the numbers from 0 on, mapped from a file: an array that nothing is held of but what is looked at."""
        path = self.folder / _ROWS
        if not path.exists() or len(np.load(path, mmap_mode="r")) < count:
            with writing(path) as part, part.open("wb") as file:
                _write_numbers(file, count)
        mapped: np.ndarray = np.load(path, mmap_mode="r")
        return mapped[:count]


def is_index(folder: Path) -> bool:
    """Return whether a folder is an index of data, or one that was begun."""
    return (folder / FILE).exists() or (folder / _BEGUN).exists()


def index(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    held_out: int = MOST_HELD_OUT,
    jobs: int | None = None,
    executor: str | Executor = LOCAL,
    needs: Needs | None = None,
    listener: Listener | None = None,
) -> Index:
    """Make an index of a source, once: data that is too much to be listed record by record is then trained on by it.

    Records are counted by what lies beside their shards (``NAME_stats.json`` of img2dataset, ``sizes.json``), else by
    one pass over the shards. Records of given splits stay in them; else whole shards are held out by the hash of their
    name. Held-out records are copied into the index. An index that was killed goes on, and one whose source has
    changed counts the changed shards alone. Several commands, and `counterpoint.execution.work`, share the counting.

    Args:
        source: what a user writes after ``--data``: a folder of shards, a pattern, a table.
        out: the folder of the index.
        held_out: the most rows of validation and of test, each.
        jobs: processes that count; as many as there are processors unless given.
        executor: where shards are counted: ``"local"``, ``"ray"`` or an executor (`counterpoint.execution`).
        needs: of those who count.
        listener: is told of progress.

    Raises:
        OtherIndex: if the folder holds an index of another source.
        ValueError: if no source recognises what was written, a shard cannot be read, nothing is left to train on, or
            nothing can be held out.
        OSError: if the folder cannot be written.
        HandedOver: if others go on with it after this call, as in jobs of SLURM.
    """
    needs = needs or Needs()
    if executor != LOCAL:
        executor = executor_of(executor, needs)
    place, options = sources.parted(os.fspath(source))
    written, folder = ",".join(filter(None, [sources.rooted(place), options])), Path(out)
    _reserve(written, folder, held_out)
    shards = sources.shards(written, Ledger())
    columns = _columns(written, shards)
    count_shards(
        shards,
        columns,
        folder,
        jobs=jobs or os.cpu_count() or 1,
        executor=executor,
        needs=needs,
        listener=listener or NullListener(),
        then=Then(f"{__name__}:{ended.__name__}", {"source": written, "held_out": held_out}, more=False),
    )
    gather(folder)
    with leased(folder, wait=True):  # of several commands that have counted, one does the rest
        return _written(written, folder, shards, columns, held_out)


def ended(folder: Path, source: str, held_out: int) -> None:
    """End an index whose shards others have counted."""
    index(source, folder, held_out=held_out)


def _written(
    written: str, folder: Path, shards: Sequence[Shard], columns: Mapping[str, str], held_out: int
) -> Index:
    """Write what was counted as an index, unless it is there."""
    table = _table(shards, counted_in(folder, shards, columns), held_out)
    most_pixels = Options.parse(sources.parted(written)[1]).max_pixels
    told = [table.rows(), columns, held_out, *([] if most_pixels == Options.max_pixels else [most_pixels])]
    digest = blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()
    if (folder / FILE).exists():
        made = read_json(folder / FILE, _File, f"delete {folder} and make the index again")
        if made.digest == digest and made.labels is not None:
            return Index.open(folder)
        (folder / FILE).unlink()
    copied = {side: _held_out(shards, table, side, columns, held_out) for side in ("validation", "test")}
    copied_counts = copy_out(copied, folder / _HELD_OUT, most_pixels)
    if empty := [side for side, count in copied_counts.items() if not count]:
        raise ValueError(
            f"{written}: no record of the split {empty[0]!r} can be used; give others that split"
        )
    with writing(folder / _TABLE) as part:
        table.hstack(_places(shards)).write_parquet(part)
    starts = _starts(table)
    read = partial(labels_read, folder, shards, list(columns))
    labels = write_labels(folder, read, starts, sources.read(str(folder / _HELD_OUT), Ledger()))
    file = _File(
        format=FORMAT,
        source=written,
        columns=dict(columns),
        held_out=copied_counts,
        digest=digest,
        labels=labels,
        labelled=sum(starts[name][1] for name, _ in read() if name in starts),
    )
    write_json(folder / FILE, file.model_dump())
    return Index.open(folder)


def _reserve(written: str, folder: Path, held_out: int) -> None:
    """Make a folder the index of a source, or check that it is; leave nothing of what was not finished."""
    asked = _Begun(format=FORMAT, source=written, held_out=held_out)
    if (folder / _BEGUN).exists():
        there = read_json(folder / _BEGUN, _Begun, f"delete {folder} and make the index again")
        if there != asked:
            what = there.source if there.source != written else f"{there.held_out:,} rows held out"
            raise OtherIndex(
                f"{folder} holds another index ({what}): give another folder with --out, or delete it"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise OtherIndex(f"{folder} is no index and not empty: give another folder with --out")
    sweep(folder)
    write_json(folder / _BEGUN, asked.model_dump())


def _starts(table: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """Return the first row of every shard that is trained on, and the number of its rows."""
    trained = table.filter(pl.col("held_out") == "").select(
        "name", start=pl.col("train").cum_sum() - pl.col("train"), rows="train"
    )
    return {name: (start, rows) for name, start, rows in trained.iter_rows()}


def _table(shards: Sequence[Shard], counts: Mapping[str, Mapping[str, Any]], most: int) -> pl.DataFrame:
    """Return the table of an index: what is of no split is trained on, or held out where nothing else is."""
    each = [counts[shard.name] for shard in shards]
    columns: dict[str, list[Any]] = {side: [one.get(side, 0) for one in each] for side in SIDES}
    columns |= {"free": [one.get("", 0) for one in each]}
    columns |= {"name": [shard.name for shard in shards], "state": [shard.state for shard in shards]}
    kinds = {"name": pl.String, "state": pl.String} | dict.fromkeys((*SIDES, "free"), pl.Int64)
    table = pl.DataFrame(columns, schema_overrides=kinds)
    trained = int(table["free"].sum()) + int(table["train"].sum())
    if not trained:
        raise ValueError(f"{len(shards):,} shards hold no record to train on")
    held: dict[str, str] = {}
    for side in ("test", "validation"):
        if not table[side].sum():
            held |= _chosen(table, side, min(most, HELD_OUT * trained), held)
    return table.select(
        "name",
        "state",
        pl.col("name").replace_strict(held, default="").alias("held_out"),
        train=pl.col("train") + pl.col("free"),
        validation="validation",
        test="test",
    ).select(*_COLUMNS)


def _chosen(table: pl.DataFrame, side: str, enough: float, taken: Mapping[str, str]) -> dict[str, str]:
    """Return the shards that are held out for a side as a whole: those of the least hashes, until there are enough."""
    left = table.filter(~pl.col("name").is_in(list(taken)), validation=0, test=0)
    wholly = left.filter(pl.col("free") > 0, train=0)
    if not len(wholly) and side == "validation":  # test is given, and all else is to train on
        wholly = left.filter(pl.col("train") > 0)
    chosen: dict[str, str] = {}
    held = 0
    each = wholly.select("name", pl.col("free") + pl.col("train")).iter_rows()
    for name, records in sorted(each, key=lambda one: _hash(one[0])):
        if held >= enough or len(chosen) + 1 == len(wholly):  # one is left to train on
            break
        chosen[name] = side
        held += records
    if not chosen:
        raise ValueError(
            f"whole shards are held out, and {counted(len(wholly), 'shard')} of records without a split cannot "
            f"give one for {side}: divide them into more shards, or give the records a split"
        )
    return chosen


def _hash(name: str) -> bytes:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _columns(written: str, shards: Sequence[Shard]) -> dict[str, str]:
    """Return the columns that records have, which those of the first shard that has records say."""
    for shard in shards:
        records = opened(shard)
        if having := {name: kind for name, kind in PAIR.items() if records.having(name).any()}:
            if "image" not in having:
                raise OtherColumns(
                    f"{written}: {shard.name} holds no pictures, and an index is of data with pictures"
                )
            return having
    raise ValueError(f"{written}: {counted(len(shards), 'shard')} with no record in them")


def _held_out(
    shards: Sequence[Shard], table: pl.DataFrame, side: str, columns: Mapping[str, str], most: int
) -> Iterator[tuple[str, Any]]:
    """Yield the name of the shard and the record of what is held out for a side, in an order of hashes of shards."""
    rows = zip(shards, table.iter_rows(named=True), strict=True)
    chosen = [
        (shard, "train" if row["held_out"] else side)
        for shard, row in rows
        if row["held_out"] == side or row[side]
    ]
    left = most
    for shard, called in sorted(chosen, key=lambda one: _hash(one[0].name)):
        for record in of_side(usable(opened(shard), columns), called)[:left]:
            left -= 1
            yield shard.name, record


def _places(shards: Sequence[Shard]) -> pl.DataFrame:
    """Return what is kept of shards to name them when they are not there any more."""
    columns = {name: [getattr(shard, name) for shard in shards] for name in _PLACES}
    columns["span"] = [shard.span and list(shard.span) for shard in shards]
    return pl.DataFrame(columns, schema=_PLACES)


def _known(table: pl.DataFrame, source: str) -> list[Shard]:
    """Return the shards that were indexed; none where an earlier version made the table."""
    if not set(_PLACES) <= set(table.columns):
        return []
    options = Options.parse(sources.parted(source)[1])
    rows = table.select("name", "state", *_PLACES).iter_rows()
    return [
        Shard(name, place, of, state, options, part, split, span=Span(*span) if span else None)
        for name, state, place, of, part, split, span in rows
    ]


def _lost(known: Sequence[Shard], there: Mapping[str, Shard], advice: str) -> dict[int, str]:
    """Return the numbers of the shards that cannot be read as they were indexed, each with the reason."""
    lost = {}
    for number, shard in enumerate(known):
        if shard.name not in there:
            lost[number] = f"{shard.place} is not there any more: bring it back, or {advice}"
        elif there[shard.name].state != shard.state:
            lost[number] = f"{shard.place} has changed since it was indexed: {advice}"
    return lost


def _differing(table: pl.DataFrame, shards: Sequence[Shard], *, lost: bool) -> str:
    """Return in words what is other than an index says: what is new, gone, changed, and the first that is so.

    Args:
        table: of the index.
        shards: of its source now.
        lost: what is gone or changed alone is no difference: others stand for it.
    """
    before, now = (
        dict(table.select("name", "state").iter_rows()),
        {shard.name: shard.state for shard in shards},
    )
    kinds = {
        "new": [name for name in now if name not in before],
        "missing": [name for name in before if name not in now],
        "changed": [name for name in now if before.get(name, now[name]) != now[name]],
    }
    said = [f"{counted(len(names), 'shard')} {kind} ({names[0]})" for kind, names in kinds.items() if names]
    if kinds["new"] or (said and not lost):
        return ", ".join(said)
    if [name for name in before if name in now] != list(now):
        return "its shards come in another order"
    return ""


def _write_numbers(file: Any, count: int) -> None:
    """Write the numbers from 0 on as an array, block by block."""
    header = {"descr": "<i8", "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)
    for start in range(0, count, 2**20):
        file.write(np.arange(start, min(start + 2**20, count), dtype="<i8").tobytes())
