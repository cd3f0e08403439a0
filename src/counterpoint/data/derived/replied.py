"""Data with worse replies to its requests, each maker's in a column of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import polars as pl
from jaxtyping import Bool, Shaped
from pydantic import BaseModel, ConfigDict

from ...files import FORMAT, read_json, write_json, writing
from ...modalities import MODALITIES
from ...raw import Conversation, Exchange
from ..base import Data, Rows
from ..fingerprint import bytes_of
from ._derived import DerivedData
from .conversations import COLUMN

MANIFEST, TABLE = "pairs.json", "pairs.parquet"
_OWN = ("id", "request", "reply")


class RepliesManifest(BaseModel):
    """``pairs.json``: how the replies of a folder were made.

    Attributes:
        source: the data, as it is named.
        seed: of the makers.
        model: that was asked; empty where none was.
        refused: by maker, how many requests got no worse reply, by the reason.
    """

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    source: str
    seed: int
    model: str = ""
    refused: dict[str, dict[str, int]] = {}


@final
class RepliedData(DerivedData):
    """Data whose rows to train on have one exchange each, and further columns with worse replies to its request.

    Args:
        data: with conversations.
        name: of this data.
        replies: a row for each request: the ``id`` of the data's row, ``request``, ``reply``, and a column for each
            maker, null where it made none.
        refused: see `RepliesManifest`.
    """

    part: ClassVar[str] = "replies"

    def __init__(
        self, data: Data, name: str, replies: pl.DataFrame, refused: Mapping[str, Mapping[str, int]]
    ) -> None:
        super().__init__(data, name)
        self.makers = tuple(column for column in replies.columns if column not in _OWN)
        self.columns = {**data.columns, **dict.fromkeys(self.makers, "talk")}
        self.reasons = refused
        self.changes = tuple(f"replies of {maker}" for maker in self.makers)
        self._replies = {row["id"]: row for row in replies.iter_rows(named=True)}

    @classmethod
    def of_folder(cls, folder: Path, data: Data, name: str) -> RepliedData:
        """Read a folder that `write_replies` wrote.

        Raises:
            DamagedFileError: for a manifest that cannot be read.
        """
        manifest = read_json(
            folder / MANIFEST, RepliesManifest, f"delete {folder} and make the replies again"
        )
        return cls(data, name, pl.read_parquet(folder / TABLE), manifest.refused)

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        if column not in self.makers:
            return super().present(column, rows)
        return np.array([bool(row) for row in self._conversations(column, rows)], dtype=bool)

    def read(self, column: str, rows: Rows) -> Any:
        return self._conversations(column, rows) if self._changes(column) else super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return (
            self._conversations(column, rows)
            if self._changes(column)
            else super().read_training(column, rows)
        )

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        every = np.arange(len(self))
        changed = {column: self._conversations(column, every) for column in (COLUMN, *self.makers)}
        return {**super().digests(), **{name: list(map(bytes_of, rows)) for name, rows in changed.items()}}

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        every = np.arange(len(self))
        columns = [self._conversations(column, every) for column in (COLUMN, *self.makers)]
        told = [bytes_of(row)[:16].ljust(16) for row in zip(*columns, strict=True)]
        return np.array(told, dtype="S16")[:, None]

    def _changes(self, column: str) -> bool:
        return column == COLUMN or column in self.makers

    def _conversations(self, column: str, rows: Rows) -> list[Conversation]:
        replies = [self._replies.get(number) for number in self.ids[rows].tolist()]
        if column == COLUMN:
            given = self.data.read(COLUMN, rows)
            return [
                of if row is None else (Exchange(row["request"], row["reply"]),)
                for row, of in zip(replies, given, strict=True)
            ]
        return [
            () if row is None or row[column] is None else (Exchange(row["request"], row[column]),)
            for row in replies
        ]


def write_replies(folder: Path, manifest: RepliesManifest, replies: pl.DataFrame) -> None:
    """Write replies as a folder that ``--data`` takes; the table last, so that it stands for a whole folder."""
    write_json(folder / MANIFEST, manifest.model_dump())
    with writing(folder / TABLE) as part:
        replies.write_parquet(part)


def begin_replies(folder: Path, manifest: RepliesManifest) -> None:
    """Write the manifest of replies that are still to be made.

    Raises:
        ValueError: for a folder of replies that were made otherwise.
    """
    if (folder / MANIFEST).exists():
        before = read_json(folder / MANIFEST, RepliesManifest, f"delete {folder}")
        for name in ("source", "seed", "model"):
            then, now = getattr(before, name), getattr(manifest, name)
            if then != now:
                raise ValueError(
                    f"{folder} holds replies of {name} {then!r}, and not {now!r}: choose another folder, or delete it"
                )
    write_json(folder / MANIFEST, manifest.model_dump())


def check_makers(data: Data, makers: Sequence[str]) -> None:
    """Refuse makers whose names are columns of the data, or modalities.

    Raises:
        ValueError: naming the first.
    """
    if taken := [name for name in makers if name in (*data.columns, *MODALITIES.names(), *_OWN)]:
        raise ValueError(f"{data.name} has a column {taken[0]} already")
