"""Making of a source's index: done once, and resumed where it was killed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl

from ...execution import Executor, FollowUp, Listener, NullListener, ResourceRequest, leased
from ...execution.executors import LOCAL, executor_of
from ...execution.folders import contents
from ...files import FORMAT, read_json, sweep, write_json, write_table
from ...modalities import PAIR
from ...reasons import counted
from ...registry import unknown
from ...trust import given
from .. import sources
from ..listed.division import HELD_OUT
from ..listed.stored import MOST, columns_there
from ..sides import MOST_HELD_OUT, SIDES
from ..sources import FACTS, Ledger, Shard, SourceOptions
from .copies import open_local
from .counting import count_shards, counted_in, gather, labels_found, of_side, usable, words_found
from .held_out import copy_out
from .index import (
    BEGUN,
    COLUMNS,
    COPIED,
    FILE,
    PLACES,
    TABLE,
    IndexFile,
    IndexPlan,
    OtherIndexError,
    ShardIndex,
    is_index,
)
from .labels import write_labels

_LOG = logging.getLogger(__name__)


def index(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    held_out: int = MOST_HELD_OUT,
    jobs: int | None = None,
    executor: str | Executor = LOCAL,
    needs: ResourceRequest | None = None,
    listener: Listener | None = None,
) -> ShardIndex:
    """Make an index of a source, once: data that is too much to be listed record by record is then trained on by it.

    Records are counted by what lies beside their shards (``NAME_stats.json`` of img2dataset, ``sizes.json``), else by
    one pass over the shards. Records of given splits stay in them; else whole shards are held out by the hash of their
    name. Held-out records are copied into the index. An index that was killed goes on, and one whose source has
    changed counts the changed shards alone. Several commands, and `counterpoint.execution.work`, share the counting.
    Rows have the columns of the first shard that has records, beside pictures those that all of them have; a record
    that lacks one of these is left out.

    Args:
        source: what a user writes after ``--data``: a folder of shards, a pattern, a table.
        out: the folder of the index.
        held_out: the most rows of validation and of test, each.
        jobs: processes that count; as many as there are processors unless given.
        executor: where shards are counted: ``"local"``, ``"ray"`` or an executor (`counterpoint.execution`).
        needs: of those who count.
        listener: is told of progress.

    Raises:
        OtherIndexError: if the folder holds an index of another source.
        ValueError: if no source recognises what was written, a shard cannot be read, nothing is left to train on, or
            nothing can be held out.
        OSError: if there is no such shard, or the folder cannot be written.
        HandedOver: if others go on with it after this call, as in jobs of SLURM.
    """
    given(source)
    return indexed(
        source, out, held_out=held_out, jobs=jobs, executor=executor, needs=needs, listener=listener
    )


def indexed(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    held_out: int,
    jobs: int | None = None,
    executor: str | Executor = LOCAL,
    needs: ResourceRequest | None = None,
    listener: Listener | None = None,
) -> ShardIndex:
    """Make an index of a source that a folder may have named; see `index`."""
    needs = needs or ResourceRequest()
    if executor != LOCAL:
        executor = executor_of(executor, needs)
    place, options = sources.parted(os.fspath(source))
    written, folder = ",".join(filter(None, [sources.rooted(place), options])), Path(out)
    if is_index(Path(place)):
        raise ValueError(f"{place} is an index already: give it to --data")
    asked = IndexPlan(format=FORMAT, source=written, held_out=held_out)
    _check_free(folder, asked)
    shards = sources.shards(written, Ledger())
    columns = _columns(written, shards)
    # A name that was mistyped has been refused, and takes no folder.
    sweep(folder)
    write_json(folder / BEGUN, asked.model_dump())
    count_shards(
        shards,
        columns,
        folder,
        jobs=jobs or os.cpu_count() or 1,
        executor=executor,
        needs=needs,
        listener=listener or NullListener(),
        then=FollowUp("data-index", {"source": written, "held_out": held_out}, more=False),
    )
    gather(folder)
    with leased(folder, wait=True):  # of several commands that have counted, one does the rest
        return _written(written, folder, shards, columns, held_out)


def ended(folder: Path, source: str, held_out: int) -> None:
    """End an index whose shards others have counted."""
    indexed(source, folder, held_out=held_out)


def _written(
    written: str, folder: Path, shards: Sequence[Shard], columns: Mapping[str, str], held_out: int
) -> ShardIndex:
    """Write what was counted as an index, unless it is there."""
    counts = counted_in(folder, shards, columns)
    table = _table(shards, counts, columns, held_out)
    options = SourceOptions.of(written)
    most_pixels = options.max_pixels
    told = [
        table.rows(),
        columns,
        held_out,
        *([] if most_pixels == SourceOptions.max_pixels else [most_pixels]),
    ]
    told += [options.numbers] if options.numbers else []
    told += [options.least] if options.least else []
    digest = blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()
    if (folder / FILE).exists():
        made = read_json(folder / FILE, IndexFile, f"delete {folder} and make the index again")
        if made.digest == digest:
            return ShardIndex.open(folder)
        (folder / FILE).unlink()
    starts = _starts(table)
    words = words_found([counts[name] for name, (_, rows) in starts.items() if rows], columns)
    copied = {side: _held_out(shards, table, side, columns, held_out) for side in ("validation", "test")}
    copied_counts = copy_out(copied, folder / COPIED, columns, most_pixels)
    if empty := [side for side, count in copied_counts.items() if not count]:
        raise ValueError(
            f"{written}: no record of the split {empty[0]!r} can be used; give others that split"
        )
    write_table(folder / TABLE, table.hstack(_locations(shards)))
    found = [each for each in labels_found(folder, shards, columns) if each.shard in starts]
    held = sources.read(str(folder / COPIED), Ledger())
    if any(table["held_out"]) and held.frame["group"].is_not_null().any():
        _LOG.warning(
            "%s: whole shards are held out, so that records of one group may lie on several sides: give the records a "
            "split to keep groups together",
            folder,
        )
    labels, refused = write_labels(folder, found, starts, held, options.numbers, options.least)
    file = IndexFile(
        format=FORMAT,
        source=written,
        columns=dict(columns),
        held_out=copied_counts,
        digest=digest,
        labels=labels,
        refused=refused,
        labelled=sum(starts[each.shard][1] for each in found),
        words=words,
        lacking=sum(one.get("lacking", 0) for one in counts.values()),
        guess=sources.guess_of(shards[0]),
    )
    write_json(folder / FILE, file.model_dump())
    return ShardIndex.open(folder)


def _check_free(folder: Path, asked: IndexPlan) -> None:
    """Refuse a folder that holds anything else than what was begun of an index.

    Raises:
        OtherIndexError: if it does.
    """
    if (folder / BEGUN).exists():
        there = read_json(folder / BEGUN, IndexPlan, f"delete {folder} and make the index again")
        if there != asked:
            what = there.source if there.source != asked.source else f"{there.held_out:,} rows held out"
            raise OtherIndexError(
                f"{folder} holds another index ({what}): give another folder with --out, or delete it"
            )
    elif contents(folder):
        raise OtherIndexError(f"{folder} is no index and not empty: give another folder with --out")


def _starts(table: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """Return the first row of every shard that is trained on, and the number of its rows."""
    trained = table.filter(pl.col("held_out") == "").select(
        "name", start=pl.col("train").cum_sum() - pl.col("train"), rows="train"
    )
    return {name: (start, rows) for name, start, rows in trained.iter_rows()}


def _table(
    shards: Sequence[Shard], counts: Mapping[str, Mapping[str, Any]], columns: Mapping[str, str], most: int
) -> pl.DataFrame:
    """Return the table of an index: what is of no split is trained on, or held out where nothing else is."""
    each = [counts[shard.name] for shard in shards]
    values: dict[str, list[Any]] = {side: [one.get(side, 0) for one in each] for side in SIDES}
    values |= {"free": [one.get("", 0) for one in each]}
    values |= {"name": [shard.name for shard in shards], "state": [shard.state for shard in shards]}
    kinds = {"name": pl.String, "state": pl.String} | dict.fromkeys((*SIDES, "free"), pl.Int64)
    table = pl.DataFrame(values, schema_overrides=kinds)
    trained = int(table["free"].sum()) + int(table["train"].sum())
    if not trained:
        lacking = sum(one.get("lacking", 0) for one in each)
        why = f" ({lacking:,} lack one of {', '.join(columns)}: name fewer with --columns)" if lacking else ""
        raise ValueError(f"{counted(len(shards), 'shard')} hold no record to train on{why}")
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
    ).select(*COLUMNS)


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
        few = table.select("free", *SIDES).sum().sum_horizontal().item() < MOST
        by_rows = (
            "so few records need no index, and are divided by rows if --data names them themselves; else "
        )
        raise ValueError(
            f"whole shards are held out, and {counted(len(wholly), 'shard')} of records without a split cannot "
            f"give one for {side}: {by_rows if few else ''}divide them into more shards, or give the records a split"
        )
    return chosen


def _hash(name: str) -> bytes:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _columns(written: str, shards: Sequence[Shard]) -> dict[str, str]:
    """Return the columns that records have, which those of the first shard that has records say; pictures come first.

    A file beside pictures and their captions is a column where all of those have it, or where it is asked for by
    name: pictures are not left out for what few of them have.

    Raises:
        UnknownNameError: for a column that is asked for, and that none of those records has.
        ValueError: if no shard has a record, or a column cannot be copied under its name.
    """
    named = SourceOptions.of(written).columns
    for shard in shards:
        records = open_local(shard)
        if there := columns_there(records):
            if lacking := [role for role in named if role not in {*there, *FACTS}]:
                raise unknown(f"column of {shard.location}", lacking[0], there)
            if bad := [name for name in there if "/" in name]:
                raise ValueError(
                    f"{written}: no file in a tar can bear the name of the column {bad[0]!r}: rename it"
                )
            if next(iter(PAIR)) not in there:
                return there
            pictured = {name: kind for name, kind in PAIR.items() if name in there}
            whole = usable(records, pictured)
            return pictured | {
                name: kind
                for name, kind in there.items()
                if name in named or len(usable(whole, {name: kind})) == len(whole)
            }
    having = f" that has a column {', '.join(named)}" if named else ""
    raise ValueError(f"{written}: {counted(len(shards), 'shard')} with no record in them{having}")


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
        for record in of_side(usable(open_local(shard), columns), called)[:left]:
            left -= 1
            yield shard.name, record


def _locations(shards: Sequence[Shard]) -> pl.DataFrame:
    """Return what is kept of shards to name them when they are not there any more."""
    columns = {name: [getattr(shard, name) for shard in shards] for name in PLACES}
    columns["span"] = [shard.span and list(shard.span) for shard in shards]
    return pl.DataFrame(columns, schema=PLACES)
