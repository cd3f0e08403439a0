"""The form of a source: a file of this room holds one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, final

from ._ledger import Ledger
from ._options import SourceOptions
from ._record import Records


class FileSpan(NamedTuple):
    """A stretch of a file: of the rows of a Parquet table, of the bytes of a text.

    Attributes:
        start: the first of them, from 0.
        stop: the first one behind them.
        before: rows in front of them; of a text, lines without its header.
    """

    start: int
    stop: int
    before: int


@final
@dataclass(frozen=True)
class Shard:
    """A part of a source that is opened by itself: a file, a stretch of one, or the pictures of a folder.

    Attributes:
        name: what tells it from the source's other shards, the same wherever the source lies.
        location: the path or the URL of it.
        source: the registered name of the source that opens it; a user's own source leaves it empty.
        state: a text that changes when the shard does: of its size and its time, or of the store's own mark.
        options: the user's word on how it is read.
        part: shards of one part share one count of ids; those of two parts may have the same ids.
        split: of all its records, where a name says it.
        records: their number, where something beside the shard says it.
        span: the stretch of the file that it is; None for all of it.
    """

    name: str
    location: str
    source: str
    state: str
    options: SourceOptions = field(default_factory=SourceOptions)
    part: str = ""
    split: str | None = None
    records: int | None = None
    span: FileSpan | None = None


class Source(ABC):
    """A kind of place that holds examples.

    Attributes:
        suffixes: of its files, in small letters; none for a source that is a folder.
        precedence: of those that recognise the same folder, the one with the lowest reads it.
        head: the word that a user writes before the name or the path (``hf:``); empty for mere files.
        takes: the names of the `SourceOptions` that mean something to it.
    """

    suffixes: ClassVar[frozenset[str]] = frozenset()
    precedence: ClassVar[int] = 0
    takes: ClassVar[frozenset[str]] = frozenset()
    head: ClassVar[str] = ""

    @abstractmethod
    def recognises(self, written: str) -> bool:
        """Return whether what the user wrote is of this kind, by its name and by what lies there."""

    @abstractmethod
    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        """List the parts of what the user wrote, in the order of its records.

        Args:
            written: what this source recognises.
            options: for each of the shards; only such as this source takes.
            ledger: is told what lies there and is not read.

        Raises:
            ValueError: if there is none; the message says what was expected.
        """

    def guess(self, shard: Shard) -> str:
        """Return what is guessed of the columns of a shard, with the alternatives; empty for nothing.

        Args:
            shard: of this source.
        """
        return ""

    def divided(self, shard: Shard) -> list[Shard]:
        """Return the shards that one shard is better read as: itself, unless it is too much to be read at once."""
        return [shard]

    @abstractmethod
    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read a shard.

        Args:
            shard: one that `shards` listed.
            ledger: is told what is left out.

        Raises:
            ValueError: if it cannot be read, or contradicts itself; the message names the file and the row.
        """
