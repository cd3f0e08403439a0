"""Data that is other data but for one thing: all that it does not change is as it was."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from jaxtyping import Bool, Shaped

from ...frames import Frames
from ...networks.base import Input
from ...types import Fit
from ..base import Data, ImageSource, Rows, SomeItems
from ..fingerprint import Fingerprint, digest
from ..items import AskedPart
from ..labels import Label
from ..replaced import Replacement


class DerivedData(Data):
    """Data made of other data by changes that are told in words.

    Attributes:
        data: the other data.
        part: what the changes are called among the parts of a fingerprint.
        changes: the changes as they are written; they tell this data from the other.
    """

    part: ClassVar[str]
    changes: tuple[str, ...]

    def __init__(self, data: Data, name: str) -> None:
        self.data, self.name, self.shards = data, name, data.shards
        self.columns, self.ids, self.splits = data.columns, data.ids, data.splits
        self.leaked = dict(data.leaked)  # a view of a mapping cannot go to other processes
        self.split_here, self.attribution, self.broken = data.split_here, data.attribution, data.broken
        self.refused = dict(data.refused)

    @cached_property
    def subsets(self) -> np.ndarray:
        return self.data.subsets

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        return self.data.labels

    def check_splits(self) -> None:
        self.data.check_splits()

    def ids_of(self, rows: Rows) -> Rows:
        return self.data.ids_of(rows)

    def expect(self, shards: Sequence[int]) -> None:
        self.data.expect(shards)

    def metadata(self, rows: Rows) -> Mapping[str, pl.Series]:
        return self.data.metadata(rows)

    def kind_of_word(self, word: str) -> str:
        return self.data.kind_of_word(word)

    def edited_reply(self, row: int, reply: str, seed: int) -> str | None:
        return self.data.edited_reply(row, reply, seed)

    def asked_part(self, row: int) -> AskedPart | None:
        return self.data.asked_part(row)

    def key(self, row: int) -> str:
        return self.data.key(row)

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return self.data.present(column, rows)

    def read(self, column: str, rows: Rows) -> Any:
        return self.data.read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return self.data.read_training(column, rows)

    def cuts(self, column: str, rows: Rows) -> Frames:
        return self.data.cuts(column, rows)

    def file(self, column: str, row: int) -> tuple[str, bytes]:
        return self.data.file(column, row)

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        return self.data.evaluation_texts(column, row)

    def replaced(self) -> list[Replacement]:
        return self.data.replaced()

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The other data's own fingerprint, and one part more: the changes."""
        whole = self.data.fingerprint
        parts = {**whole.parts, self.part: digest(each.encode() for each in self.changes)}
        if not len(whole.rows):
            return Fingerprint(parts, whole.rows)
        checksums = [zlib.crc32(row.tobytes()) for row in self._became()]
        return Fingerprint(parts, whole.rows.with_columns(pl.Series(self.part, checksums, pl.UInt32())))

    @abstractmethod
    def _became(self) -> Shaped[np.ndarray, "N _"]:
        """Return what became of every row."""

    def _digest_parts(self, columns: Iterable[str]) -> Iterator[bytes]:
        yield self.data.identity(columns).encode()
        yield from (each.encode() for each in self.changes)

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        return self.data.digests()

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        return self._of(self.data.suited(inputs, training=training))

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        return self._of(self.data.sized(image_size, fit))

    def _of(self, data: Data) -> Self:
        """Return the same change of the same data in another form."""
        if data is self.data:
            return self
        other = copy(self)
        other.data = data
        other.__dict__.pop("fingerprint", None)
        return other

    def shifts(self) -> Mapping[str, ImageSource]:
        return self.data.shifts()

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        return self.data.items(form, rows, kinds)

    def describe(self) -> dict[str, dict[str, Any]]:
        description = self.data.describe()
        return description | {"data": description.get("data", {}) | {"name": self.name}}

    def findings(self) -> Mapping[str, str]:
        return self.data.findings()
