"""Data over an index: its rows are records of shards, which are opened and decoded when the rows come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ...reasons import counted
from ...types import Fit
from ..base import Rows, Splits, stored_size
from ..cache import CacheError
from ..fingerprint import PARTS, ROW_SCHEMA, Fingerprint
from ..labels import Label
from ..listed.labels import told
from ..listed.pairs import Pairs
from ..listed.photos import Photos, StoredPictures
from ..pictured import PairedData, Pictured
from ..pictures.decode import decode, shown, side_of
from ..pictures.squares import why
from ..replaced import Replaced
from ..sources import BROKEN, Asset, Record, Records, Shard, is_url, state_of
from .copies import Ahead, Copies, Unreachable, is_remote, opened
from .counting import of_side, usable
from .index import Index, OtherIndex

_OF_A_PROCESS = {"_ahead", "ids", "splits", "labels"}
_OPEN = 400_000  # records of opened shards that are held at a time
_HEADS, _HEAD = 16, 2000  # shards, and records of each, of which is learned before training


class ShardGone(OSError):
    """A shard that is missing, or is not what was indexed, while data is read."""


class Sharded(Pictured):
    """Pictures that lie in shards, row by row: those to train on, then the held-out ones of each side.

    A row to train on is read when it is asked for, and nothing per row is held in memory: only the records of the
    shards that are open, the least recently used of which are closed. Held-out rows are pictures from files like any
    others. Where a picture cannot be decoded, the next record of its shard that can be takes the row's place,
    always the same one.

    Args:
        index: of the shards.
        form: side of the pictures, or the way to them that a tower asks for.
    """

    def __init__(self, index: Index, form: int | Fit = 64) -> None:
        self.index = index
        self.name, self.columns, self.refused = str(index.folder), index.columns, index.refused
        self.shards = self.index.training
        self._ends = self.shards.cumsum()
        self._trained = int(self.shards.sum())
        self._form = form
        kind = Pairs if "text" in self.columns else Photos
        self.most_pixels = index.options.max_pixels
        self._held: StoredPictures = kind(
            self.index.held_out, form, name=self.name, most_pixels=self.most_pixels
        )
        self._map()
        self._opened: OrderedDict[int, Records] = OrderedDict()
        self._read: tuple[bytes, Sequence[Record], Tensor] | None = None
        self._replaced: dict[int, Replaced] = {}
        self._gone = dict(self.index.lost)

    def _map(self) -> None:
        """Map the numbers of all rows."""
        mapped = self.index.rows(self._trained + len(self._held))
        self.ids = mapped
        validation, test = (
            {name: rows + self._trained for name, rows in sets.items()}
            for sets in (self._held.splits.validation, self._held.splits.test)
        )
        self.splits = Splits(mapped[: self._trained], validation, test)

    def __getstate__(self) -> dict[str, Any]:
        # Another process opens shards and maps files itself: what is mapped would be sent to it row by row.
        kept = {name: value for name, value in self.__dict__.items() if name not in _OF_A_PROCESS}
        return kept | {"_opened": OrderedDict(), "_read": None, "_replaced": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def __len__(self) -> int:
        return self._trained + len(self._held)

    @cached_property
    def subsets(self) -> np.ndarray:
        return np.broadcast_to(np.array("all"), len(self))

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        return {name: self.index.label(name, len(self)) for name in self.index.labels}

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The digest of the index, which tells the shards and their states; there is none for each row."""
        return Fingerprint(dict.fromkeys(PARTS, self.index.digest), pl.DataFrame(schema=ROW_SCHEMA))

    def examples(self) -> Mapping[str, Any]:
        return _Heads(self)

    def ids_of(self, rows: Rows) -> Rows:
        return np.asarray(rows, dtype=np.int64)

    def key(self, row: int) -> str:
        if row >= self._trained:
            return self._held.key(row - self._trained)
        shard, position = self._place(row)
        return f"{self.index.shards[shard].name}/{self.records(shard)[position].key}"

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        rows = np.asarray(rows)
        trained = rows < self._trained
        if trained.all():
            return self._taken(rows)[1]
        held = self._held.images(rows[~trained] - self._trained)
        pictures = held.new_empty((len(rows), *held.shape[1:]))
        pictures[torch.from_numpy(~trained)] = held
        if trained.any():
            pictures[torch.from_numpy(trained)] = self._taken(rows[trained])[1]
        return pictures

    def encoded(self, row: int) -> bytes:
        if row >= self._trained:
            return self._held.encoded(row - self._trained)
        return _picture(self._taken(np.array([row]))[0][0]).read_bytes()

    def shown(self, row: int, side: int) -> Image.Image:
        if row >= self._trained:
            return self._held.shown(row - self._trained, side)
        return shown(_picture(self._taken(np.array([row]))[0][0]).read_bytes(), side, self.most_pixels)

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        side = stored_size(image_size)
        return self._formed(side if fit is None else fit.uncut(side), self._held.sized(image_size, fit))

    def fitted(self, fit: Fit) -> Self:
        return self._formed(fit, self._held.fitted(fit))

    def _formed(self, form: int | Fit, held: StoredPictures) -> Self:
        if form == self._form:
            return self
        other = copy(self)
        other._form, other._held = form, held
        other._opened, other._read, other._replaced = OrderedDict(), None, {}
        return other

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        return {}

    def _told(self, columns: Any) -> Iterator[bytes]:
        yield self.index.digest.encode()

    def describe(self) -> dict[str, dict[str, Any]]:
        return {
            "data": {
                "name": self.name,
                "source": self.index.source,
                "shards": len(self.shards),
                "rows": len(self),
            },
            "columns": dict(self.columns),
            "splits": {side: len(rows) for side, rows in self.splits.sides.items()},
            "labels": {name: label.contents for name, label in self.labels.items()},
        }

    def findings(self) -> Mapping[str, str]:
        found = told(self.refused)
        if self.index.labels and self.index.labelled < self._trained:
            found["labels"] = (
                f"known of {self.index.labelled:,} of {self._trained:,} records to train on: the others were "
                "counted by what lies beside their shards, and not read"
            )
        if lost := [number for number in self.index.lost if self.shards[number]]:
            said = f"{counted(len(lost), 'shard')} cannot be used, and others stand for what it held"
            found["shards"] = f"{said}; the first: {self.index.lost[lost[0]]}"
        return found

    def _place(self, row: int) -> tuple[int, int]:
        """Return the shard of a row to train on, and its position among that shard's rows."""
        shard = int(np.searchsorted(self._ends, row, side="right"))
        return shard, row - int(self._ends[shard] - self.shards[shard])

    def records(self, number: int) -> Records:
        """Return the records of a shard that are trained on.

        Raises:
            ShardGone: if it is missing, is not what was indexed, or holds nothing that can be read.
        """
        if number in self._gone:
            raise ShardGone(self._gone[number])
        if number in self._opened:
            self._opened.move_to_end(number)
            return self._opened[number]
        shard = self.index.shards[number]
        place = Path(shard.place)
        try:
            if place.is_file() and state_of([place]) != shard.state:
                raise ShardGone(f"{shard.place} has changed since it was indexed: {self.index.advice}")
            if not is_url(shard.place):
                place.stat()  # what was read of it before may be kept, but its pictures are not
            # To read through a shard takes as long as to decode half of its small pictures, and every worker needs it.
            name = f"to-train-on-{'-'.join(self.columns)}.arrow"
            records = Records(
                Copies.usual().kept(shard, name, lambda: self._to_train_on(shard)), self.columns
            )
        except FileNotFoundError as error:
            raise ShardGone(
                f"{shard.place} is not there any more: bring it back, or {self.index.advice}"
            ) from error
        if not len(records):
            raise ShardGone(f"{shard.place} holds no record that can be read any more: {self.index.advice}")
        self._opened[number] = records
        while len(self._opened) > 1 and sum(map(len, self._opened.values())) > _OPEN:
            self._opened.popitem(last=False)
        return records

    def _to_train_on(self, shard: Shard) -> pl.DataFrame:
        return of_side(usable(opened(shard), self.columns), "train").frame

    def _taken(self, rows: Rows) -> tuple[Sequence[Record], UInt8[Tensor, "n 3 H W"]]:
        """Return the records that stand for some rows to train on, and their pictures; the last ones are remembered.

        A batch is read column by column, and what stands for a row must be the same in each.
        """
        asked = np.asarray(rows, dtype=np.int64).tobytes()
        if self._read is None or self._read[0] != asked:
            side = side_of(self._form)
            pictures = np.empty((len(rows), 3, side, side), np.uint8)
            records = []
            for number, row in enumerate(np.asarray(rows).tolist()):
                record, pictures[number] = self._sound(row)
                records.append(record)
            self._read = asked, records, torch.from_numpy(pictures)
        return self._read[1:]

    def _sound(self, row: int) -> tuple[Record, UInt8[np.ndarray, "3 H W"]]:
        """Return the record that stands for a row, and its picture.

        It is of the row's own shard, or of the next one where nothing of that can be had.

        Raises:
            ShardGone: if no shard can be read any more.
        """
        home, position = self._place(row)
        broken: tuple[str, str, str] | None = None
        for shard, records in self.standing_for(home):
            if home in self._gone and broken is None:
                broken = self.index.shards[home].place, self._gone[home], ""
            try:
                for further in range(len(records)):
                    record = records[(position + further) % len(records)]
                    try:
                        pixels = decode(self._bytes(record, shard), self._form, self.most_pixels)
                    except (ShardGone, Unreachable, CacheError):
                        raise
                    except (OSError, ValueError) as error:  # no picture: the next one stands for it
                        broken = broken or (record.where, why(error), " ".join(str(error).split()))
                        continue
                    if broken is not None:
                        self._replaced[row] = Replaced(row, *broken, record.where)
                    return record, pixels
            except (ShardGone, Unreachable) as error:
                self._gone[shard] = str(error)
        raise ShardGone(
            self._gone.get(home, f"{self.index.folder}: no shard holds a picture that can be decoded")
        )

    def standing_for(self, home: int) -> Iterator[tuple[int, Records]]:
        """Yield the shards to train on that can be read, each with its records: a shard itself, then those after it."""
        for shard in (*range(home, len(self.shards)), *range(home)):
            if not self.shards[shard]:
                continue
            try:
                records = self.records(shard)
            except (ShardGone, Unreachable) as error:
                self._gone[shard] = str(error)  # a store is not waited for row by row
                continue
            yield shard, records

    def _bytes(self, record: Record, shard: int) -> bytes:
        """Read the picture of a record, whose shard's copy another process may have removed since it was opened."""
        picture = _picture(record)
        inside = picture.file == self.index.shards[shard].place  # a table
        try:
            return (self._in_copy(picture, shard) if inside else picture).read_bytes()
        except FileNotFoundError as error:
            if not is_remote(self.index.shards[shard]):
                raise ShardGone(
                    f"{error.filename} is not there any more: bring it back, or {self.index.advice}"
                ) from error
            return self._in_copy(picture, shard).read_bytes()

    def _in_copy(self, picture: Asset, shard: int) -> Asset:
        """Return a picture in a shard as it is in the shard's copy here, which is fetched unless it is there."""
        return replace(picture, file=Copies.usual().local(self.index.shards[shard]).place)

    def replaced(self) -> list[Replaced]:
        found = list(self._replaced.values())
        self._replaced.clear()
        return found

    def expect(self, shards: Sequence[int]) -> None:
        asked = [self.index.shards[number] for number in shards if number not in self._gone]
        wanted = [shard for shard in asked if is_remote(shard)]
        if wanted:
            self._ahead.fetch(wanted)

    @cached_property
    def _ahead(self) -> Ahead:
        return Ahead(Copies.usual())


class _Heads(Mapping[str, Any]):
    """The first records of some shards, column by column; texts are read without the pictures beside them."""

    def __init__(self, data: Sharded) -> None:
        self._data = data

    def __getitem__(self, column: str) -> Any:
        shards = np.asarray(self._data.shards)
        filled = np.flatnonzero(shards)
        chosen = filled[np.unique(np.linspace(0, len(filled) - 1, min(_HEADS, len(filled))).astype(int))]
        if self._data.columns[column] == "text":
            heads = (records[:_HEAD] for shard in chosen for _, records in self._first(int(shard)))
            return [list(_texts(record)) for records in heads for record in records]
        starts = shards.cumsum()[chosen] - shards[chosen]
        return self._data.read_training(column, starts)

    def _first(self, shard: int) -> Iterator[tuple[int, Records]]:
        return islice(self._data.standing_for(shard), 1)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data.columns)

    def __len__(self) -> int:
        return len(self._data.columns)


class ShardedPairs(Sharded, PairedData):
    """Pictures with captions that lie in shards."""

    def captions(self, row: int) -> Sequence[str]:
        if row >= self._trained:
            assert isinstance(self._held, Pairs)
            return self._held.captions(row - self._trained)
        return _texts(self._taken(np.array([row]))[0][0])

    def evaluation_captions(self, row: int) -> Sequence[str]:
        return self.captions(row)

    def read_training(self, column: str, rows: Rows) -> Any:
        rows = np.asarray(rows)
        if column == "text" and (rows < self._trained).all():
            return [list(_texts(record)) for record in self._taken(rows)[0]]
        return super().read_training(column, rows)

    def describe(self) -> dict[str, dict[str, Any]]:
        return Sharded.describe(self)


def open_index(folder: Path, form: int | Fit, broken: float = BROKEN) -> Sharded:
    """Open data over an index: pairs where its records have captions, else pictures.

    Args:
        folder: of the index.
        form: side of the pictures, or the way to them that a tower asks for.
        broken: the share of the examples that may be broken.

    Raises:
        OtherIndex: if more than that share lies in shards that are missing or changed.
        ValueError: as for `Index.open`.
    """
    index = Index.open(folder)
    every, lost = int(index.training.sum()), [number for number in index.lost if index.training[number]]
    if (gone := int(index.training[lost].sum())) > max(1.0, broken * every):
        raise OtherIndex(
            f"{gone:,} of {every:,} records to train on lie in {counted(len(lost), 'shard')} that cannot be used, and "
            f"{broken:g} of them may be broken: {index.lost[lost[0]]}, or allow more with --broken"
        )
    data = (ShardedPairs if "text" in index.columns else Sharded)(index, form)
    data.broken = broken
    return data


def _picture(record: Record) -> Asset:
    picture = record.cells["image"]
    assert isinstance(picture, Asset)  # `usable` left out what has none
    return picture


def _texts(record: Record) -> tuple[str, ...]:
    texts = record.cells["text"]
    assert isinstance(texts, tuple)  # as above
    return texts
