"""The form of a kind of index: a file of this room holds one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

Scores = Float[np.ndarray, "m k"]
Positions = Int[np.ndarray, "m k"]


@dataclass(frozen=True)
class VectorBlocks:
    """Vectors that go into an index, in blocks that need not be in memory together.

    Attributes:
        table: what is known of each, a row per vector, without them.
        width: of a vector.
        dtype: in which a kind may store them.
        blocks: yields them in order, of norm one, in float32; anew at every call.
        first: the position in the index of the first of them.
    """

    table: pl.DataFrame
    width: int
    dtype: str
    blocks: Callable[[], Iterator[Float[np.ndarray, "n d"]]]
    first: int = 0

    def __len__(self) -> int:
        return len(self.table)

    def of(self, modality: str) -> VectorBlocks:
        """Return those of one modality."""
        here = (self.table["modality"] == modality).to_numpy()

        def blocks() -> Iterator[Float[np.ndarray, "n d"]]:
            first = 0
            for block in self.blocks():
                yield block[here[first : first + len(block)]]
                first += len(block)

        return self if here.all() else replace(self, table=self.table.filter(here), blocks=blocks)


@dataclass(frozen=True)
class RowSelection:
    """The rows of an index among which a search looks.

    Attributes:
        condition: on their columns, as SQL.
        find: says of every row whether it holds.
        modality: they are of this one among several, so that a query of another may be near to none of them.
        every: they are all rows of the modality.
    """

    condition: str
    find: Callable[[], Bool[np.ndarray, " n"]]
    modality: str | None = None
    every: bool = False

    @cached_property
    def mask(self) -> Bool[np.ndarray, " n"]:
        return self.find()


class IndexBackend(ABC):
    """A way to find the nearest of some vectors of norm one; what is in it never changes.

    Attributes:
        form: one line, for lists.
        database: it keeps its vectors in a database, and not in files of an index's folder.
        files: the files that hold it, if it is on disk.
    """

    form: ClassVar[str]
    database: ClassVar[bool] = False
    files: tuple[Path, ...] = ()

    @classmethod
    @abstractmethod
    def build(cls, additions: VectorBlocks, location: str | None) -> Self:
        """Arrange vectors.

        Args:
            additions: the vectors.
            location: the folder (or the database) to keep them in; memory unless given.

        Raises:
            MissingPackageError: without the package that does it.
            ValueError: for a location that this kind cannot be kept in.
        """

    @abstractmethod
    def extended(self, additions: VectorBlocks, location: str | None) -> Self:
        """Return what holds other vectors after these; this one stays as it is, and so do its files.

        Args:
            additions: the vectors.
            location: of this one.

        Raises:
            ValueError: for columns that it cannot take in.
        """

    @classmethod
    @abstractmethod
    def open(cls, location: str, files: Sequence[Path], table: pl.DataFrame, width: int) -> Self:
        """Open what was built at a location.

        Args:
            location: the folder, or the database.
            files: that hold it, in order.
            table: what is known of each vector, in order.
            width: of a vector.

        Raises:
            MissingPackageError: without the package that reads it.
            ValueError: for files that do not hold these vectors; the message is what is wrong.
            OSError: for a file that cannot be read.
        """

    @abstractmethod
    def nearest(
        self, queries: Float[np.ndarray, "m d"], k: int, chosen: RowSelection | None
    ) -> tuple[Scores, Positions]:
        """Find the vectors with the largest cosines.

        Args:
            queries: of norm one.
            k: how many for each query; at most all.
            chosen: the rows that count; all unless given.

        Returns:
            Cosines, the largest first, and the positions of the vectors; where fewer than k are chosen, the rest of a
            row are −∞ and −1.
        """

    @abstractmethod
    def take(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """Return some of the vectors by their positions, in float32."""


def next_file(folder: Path, name: str) -> Path:
    """Return a file's path with the next free number, so that what an index holds stays until it holds something else.

    >>> next_file(Path("nowhere"), "vectors.npy")
    PosixPath('nowhere/vectors-0001.npy')
    """
    stem, dot, ending = name.partition(".")
    taken = [int(path.stem.rpartition("-")[2]) for path in folder.glob(f"{stem}-[0-9]*{dot}{ending}")]
    return folder / f"{stem}-{max(taken, default=0) + 1:04}{dot}{ending}"
