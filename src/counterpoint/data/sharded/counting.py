"""The one pass over the shards of a source that an index counts: what each holds, in logs, resumed if killed.

Shards are counted some at a time, as units of work, each with a log in the index. A unit's own folder, which is leased,
lies in ``.parts`` below the index until all are done.
"""

from __future__ import annotations

import json
import operator
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import reduce
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, final

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from ...execution import (
    Executor,
    FollowUp,
    Listener,
    Local,
    OnProgress,
    ResourceRequest,
    UnitProgress,
    WorkList,
)
from ...execution.executors import LOCAL, executor_of
from ...execution.listed import FILE as LIST
from ...execution.state import FILE as STATE
from ...modalities import MODALITIES
from ...reasons import counted
from .. import sources
from ..listed.words import Words, known
from ..sides import SIDES
from ..sources import Records, Shard
from .copies import open_local
from .labels import FOUND, ShardLabels, write_found
from .sizes import stated_size

_PARTS = ".parts"
_FEW = 8  # shards that no second process is begun for
_MOST = 64  # shards of a unit
_UNITS = 32  # units at least, where there are shards enough
_SHARDS = TypeAdapter(tuple[Shard, ...])


def usable(records: Records, columns: Mapping[str, str]) -> Records:
    """Return those records that have something in all of some columns.

    Raises:
        ValueError: if a column is of another modality here.
    """
    having = pl.repeat(True, len(records), eager=True)
    for column, modality in columns.items():
        if len(records) and (here := records.columns.get(column, modality)) != modality:
            raise ValueError(
                f"{records[0].where}: the column {column} holds {here} here, and {modality} in the first shard: say "
                f"which it is, --columns {modality}={column}"
            )
        if MODALITIES.get(modality).held == "values":
            there = [known(cells).is_not_null() for cells in records.values(column)]
            having &= reduce(operator.or_, there, pl.repeat(False, len(records), eager=True))
        else:
            having &= records.having(column)
    return records.with_frame(records.frame.filter(having))


def of_side(records: Records, side: str) -> Records:
    """Return the records of a split; those of none are trained on."""
    return records.with_frame(records.frame.filter(pl.col("split").fill_null("train") == side))


@final
@dataclass(frozen=True)
class CountingUnit:
    """The unit of work that counts some shards, one after another.

    Attributes:
        shards: to be counted.
        columns: of the data, each with its modality; a record without one of them does not count.
        folder: the unit's own.
        needs: of the unit.
    """

    shards: tuple[Shard, ...]
    columns: Mapping[str, str] = field(hash=False)  # a mapping has no hash
    folder: Path
    needs: ResourceRequest = field(default_factory=ResourceRequest)

    lighter: ClassVar[str] = "smaller shards need less memory"

    @property
    def key(self) -> str:
        first, last = self.shards[0].name, self.shards[-1].name
        return first if first == last else f"{first} to {last}"

    @property
    def log(self) -> Path:
        """The file that says what each shard holds."""
        return self.folder.parents[1] / f"counted-{self.folder.name}.jsonl"

    def read(self) -> int | None:
        return len(self.shards) if len(self._counted()) == len(self.shards) else None

    def work(self, on_progress: OnProgress) -> int:
        done = self._counted()
        with self.log.open("ab") as file:
            for shard in self.shards:
                if shard.name not in done:
                    one = _count(self.folder.parents[1], self.columns, shard)
                    # The end of a line that a kill cut short is not the beginning of this one.
                    file.write(b"\n" + json.dumps(one).encode())
                    file.flush()
                    done.add(shard.name)
                    on_progress(UnitProgress(len(done), len(self.shards)))
        return len(done)

    def outcome(self, result: int) -> str:
        return f"{counted(result, 'shard')} counted"

    def plain(self) -> dict[str, Any]:
        return {"shards": _SHARDS.dump_python(self.shards, mode="json"), "columns": dict(self.columns)}

    @classmethod
    def parse(cls, plain: dict[str, Any], folder: Path, needs: ResourceRequest) -> CountingUnit:
        if folder.parent.name != _PARTS:  # what the unit writes goes two folders up
            raise ValueError(f"{folder} is no folder of such a unit: it lies in no {_PARTS}")
        return cls(_SHARDS.validate_python(plain["shards"]), dict(plain["columns"]), folder, needs)

    def _counted(self) -> set[str]:
        return {one["name"] for one in _logged([self.log], self.shards, self.columns)}


def count_shards(
    shards: Sequence[Shard],
    columns: Mapping[str, str],
    folder: Path,
    *,
    jobs: int,
    executor: str | Executor,
    needs: ResourceRequest,
    listener: Listener,
    then: FollowUp,
) -> None:
    """Count every shard that is not counted in its present state; `counted_in` returns what was found.

    Args:
        shards: to be counted.
        columns: of the data, each with its modality; a record without one of them does not count.
        folder: of the index.
        jobs: processes on this machine.
        executor: where shards are counted.
        needs: of those who count.
        listener: is told of progress.
        then: what ends the work that others carry out.

    Raises:
        HandedOver: if others carry it out, after this process.
    """
    there = counted_in(folder, shards, columns)
    todo = [shard for shard in shards if shard.name not in there]
    if not todo:
        return
    several = max(1, min(_MOST, len(todo) // _UNITS))
    units = [
        CountingUnit(some, columns, folder / _PARTS / _named(some, columns), needs)
        for start in range(0, len(todo), several)
        for some in [tuple(todo[start : start + several])]
    ]
    WorkList.of("counting shards", units, folder, then).write(folder)
    listener.begin("counting shards", units)
    local = Local(min(jobs, len(todo) // _FEW))
    (local if executor == LOCAL else executor_of(executor, needs)).carry_out(units, listener, folder)


def counted_in(folder: Path, shards: Sequence[Shard], columns: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what each shard was found to hold."""
    return {one["name"]: one for one in _logged(_logs(folder), shards, columns)}


def words_found(
    counts: Iterable[Mapping[str, Any]], columns: Mapping[str, str]
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the words of the columns of values, by what they are called, from what some shards were found to hold.

    Raises:
        ValueError: for a word among numbers, and too many words.
    """
    surveyed: dict[str, dict[str, Words]] = {}
    for one in counts:
        for column, of_column in one.get("words", {}).items():
            surveys = surveyed.setdefault(column, {})
            for name, plain in of_column.items():
                survey = Words.parse(plain)
                surveys[name] = surveys[name] + survey if name in surveys else survey
    return {
        column: {name: survey.categories(name) for name, survey in surveyed[column].items()}
        for column in columns
        if column in surveyed
    }


def gather(folder: Path) -> None:
    """End the work on an index whose shards are all counted: what it was told in goes."""
    shutil.rmtree(folder / _PARTS, ignore_errors=True)
    for name in (LIST, STATE):
        (folder / name).unlink(missing_ok=True)


def labels_found(folder: Path, shards: Sequence[Shard], columns: Iterable[str]) -> list[ShardLabels]:
    """Return the labels of those shards that were read, and not only counted."""
    columns = [*columns]
    tables = {shard.name: _table(folder, shard, columns) for shard in shards}
    return [
        ShardLabels(one["name"], tables[one["name"]], one["many"])
        for one in _logged(_logs(folder), shards, columns)
        if one["many"] is not None
    ]


def _logs(folder: Path) -> list[Path]:
    """Return the logs of an index."""
    return sorted(folder.glob("counted-*.jsonl"))


def _named(shards: Sequence[Shard], columns: Iterable[str]) -> str:
    """Return the name of the unit that counts some shards in their present states."""
    told = json.dumps([[(shard.name, shard.state) for shard in shards], [*columns]])
    return blake2b(told.encode(), digest_size=12).hexdigest()


def _logged(
    logs: Iterable[Path], shards: Sequence[Shard], columns: Iterable[str]
) -> Iterator[dict[str, Any]]:
    """Yield what was counted of each shard that is still what it was."""
    still = {shard.name: (shard.state, list(columns)) for shard in shards}
    for log in logs:
        with suppress(FileNotFoundError), log.open("rb") as file:
            for line in file:
                try:
                    one = json.loads(line)
                except ValueError:  # empty, or cut short by a kill
                    continue
                if still.get(one["name"]) == (one["state"], one["columns"]):
                    del still[one["name"]]  # it may be there twice
                    yield one


def _count(folder: Path, columns: Mapping[str, str], shard: Shard) -> dict[str, Any]:
    """Return how many records of each side a shard holds, those without a split under an empty name.

    The labels of those that are trained on are written beside; ``many`` names those of too many values. Of a shard that
    is not read no labels are known; where there are columns of values each is read, for the ``words`` in it. Records
    that do not count, as they lack a column, are ``lacking``.
    """
    counts: dict[str, Any] = {"name": shard.name, "state": shard.state, "columns": [*columns]}
    valued = [column for column, modality in columns.items() if MODALITIES.get(modality).held == "values"]
    count = shard.records if shard.records is not None else stated_size(shard.location)
    if count is not None and not valued:
        counts[shard.split or sources.split_of(PurePosixPath(shard.location).name) or ""] = count
        return counts | {"many": None}
    every = open_local(shard)
    records = usable(every, columns)
    sides = records.frame["split"].fill_null("")
    counts |= {side: int((sides == side).sum()) for side in ("", *SIDES)}
    where, train = records.frame["where"], np.flatnonzero(sides.is_in(["", "train"]).to_numpy())
    words = {
        column: {cells.name: asdict(Words.of(cells, where, train)) for cells in records.values(column)}
        for column in valued
    }
    many = write_found(of_side(records, "train"), _table(folder, shard, columns))
    return counts | {"many": many, "lacking": len(every) - len(records), "words": words}


def _table(folder: Path, shard: Shard, columns: Iterable[str]) -> Path:
    """Return the file of the labels of a shard in its present state."""
    return folder / FOUND / f"{_named([shard], columns)}.parquet"
