"""The shards of an index that are open while rows are read: their records, and the bytes of these."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, final

import numpy as np
import polars as pl

from ..sources import Asset, Records, Shard, is_url, state_of
from .copies import Copies, ShardPrefetcher, UnreachableFileError, is_remote, open_local
from .counting import of_side, usable
from .index import ShardIndex

_OPEN = 400_000  # most records of opened shards that are held at a time
_ORDER = threading.Lock()  # held while what is open changes: a server shows pictures in several threads


class MissingShardError(OSError):
    """A shard that is missing, or is not what was indexed, while data is read."""


@final
class OpenShards:
    """The shards of an index that are trained on, the least recently used of which are closed.

    Args:
        index: of the shards.

    Attributes:
        missing: the numbers of those that cannot be read, each with the reason.
    """

    def __init__(self, index: ShardIndex) -> None:
        self.index, self.sizes = index, index.training
        self.missing = dict(index.lost)
        self._ends = self.sizes.cumsum()
        self._opened: OrderedDict[int, Records] = OrderedDict()
        self._most: int | None = None  # records that an order needs open, where it says so

    def __getstate__(self) -> dict[str, Any]:
        # Another process opens shards itself.
        kept = {name: value for name, value in self.__dict__.items() if name != "_ahead"}
        return kept | {"_opened": OrderedDict()}

    def locate(self, row: int) -> tuple[int, int]:
        """Return the shard of a row to train on, and its position among that shard's rows."""
        shard = int(np.searchsorted(self._ends, row, side="right"))
        return shard, row - int(self._ends[shard] - self.sizes[shard])

    def records(self, number: int) -> Records:
        """Return the records of a shard that are trained on.

        Raises:
            MissingShardError: if it is missing, is not what was indexed, or holds nothing that can be read.
        """
        if number in self.missing:
            raise MissingShardError(self.missing[number])
        with _ORDER:
            if number in self._opened:
                self._opened.move_to_end(number)
                return self._opened[number]
        shard, advice = self.index.shards[number], self.index.advice
        place = Path(shard.location)
        try:
            if place.is_file() and state_of([place]) != shard.state:
                raise MissingShardError(f"{shard.location} has changed since it was indexed: {advice}")
            if not is_url(shard.location):
                place.stat()  # what was read of it before may be kept, but its files are not
            # To read through a shard takes as long as to decode half of its small pictures, and every worker needs it.
            kept = Copies.usual().cached(shard, self._kept_as(shard), lambda: self._to_train_on(shard))
            records = Records(kept, self.index.columns)
        except FileNotFoundError as error:
            raise MissingShardError(
                f"{shard.location} is not there any more: bring it back, or {advice}"
            ) from error
        if not len(records):
            raise MissingShardError(f"{shard.location} holds no record that can be read any more: {advice}")
        with _ORDER:
            self._opened[number] = records
            most = min(_OPEN, self._most or _OPEN)
            while len(self._opened) > 1 and sum(map(len, self._opened.values())) > most:
                self._opened.popitem(last=False)
        return records

    def _kept_as(self, shard: Shard) -> str:
        """Return the name of the file that a shard's records are kept in, which are other ones of other columns."""
        told = repr((dict(self.index.columns), shard.options)).encode()
        return f"to-train-on-{blake2b(told, digest_size=8).hexdigest()}.arrow"

    def _to_train_on(self, shard: Shard) -> pl.DataFrame:
        columns = self.index.columns
        return of_side(usable(open_local(shard), columns), "train").frame

    def readable(self, home: int) -> Iterator[tuple[int, Records]]:
        """Yield the shards that can be read, each with its records: a shard itself, then those after it."""
        for shard in (*range(home, len(self.sizes)), *range(home)):
            if not self.sizes[shard]:
                continue
            try:
                records = self.records(shard)
            except (MissingShardError, UnreachableFileError) as error:
                self.missing[shard] = str(error)  # a store is not waited for row by row
                continue
            yield shard, records

    def bytes_of(self, file: Asset, number: int) -> bytes:
        """Read a file of a record, whose shard's copy another process may have removed since it was opened."""
        shard = self.index.shards[number]
        if file.offset is None:  # a file of its own, which a table names or a folder holds
            return file.read_bytes()
        try:
            in_table = file.file == shard.location
            return (self._in_copy(file, shard) if in_table else file).read_bytes()
        except FileNotFoundError as error:
            if not is_remote(shard):
                raise MissingShardError(
                    f"{error.filename} is not there any more: bring it back, or {self.index.advice}"
                ) from error
            return self._in_copy(file, shard).read_bytes()

    def _in_copy(self, file: Asset, shard: Shard) -> Asset:
        """Return a file in a shard as it is in the shard's copy here, which is fetched unless it is there."""
        return replace(file, file=Copies.usual().local(shard).location)

    def expect(self, numbers: Sequence[int]) -> None:
        """Hear which shards will be read soon, soonest first; those that lie elsewhere are fetched ahead."""
        # An order that goes from shard to shard does not come back to those that it is done with.
        self._most = max(self._most or 0, len(numbers) * int(self.sizes.max())) if numbers else None
        asked = [self.index.shards[number] for number in numbers if number not in self.missing]
        if wanted := [shard for shard in asked if is_remote(shard)]:
            self._ahead.fetch(wanted)

    @cached_property
    def _ahead(self) -> ShardPrefetcher:
        return ShardPrefetcher(Copies.usual())
