"""The part that kinds of index of FAISS share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from ....files import writing
from ....reasons import counted
from ....registry import require
from ._kind import IndexBackend, Positions, RowSelection, Scores, VectorBlocks, next_file


@dataclass(frozen=True)
class ModalityIndex:
    """The vectors of one modality.

    Attributes:
        modality: of the vectors.
        index: of FAISS, by inner products.
        rows: their positions among those of all modalities, rising.
        parameters: of searches through all of them, by how many they find.
    """

    modality: str
    index: Any
    rows: Int[np.ndarray, " n"]
    parameters: dict[int, Any] = field(default_factory=dict)


class FaissKind(IndexBackend):
    """Indexes of FAISS, one for each modality, in memory while they are used.

    Vectors of texts lie apart from those of pictures: in one index of both, what is near to a text are texts, and
    hardly a picture would be met.

    Args:
        parts: in the order in which modalities come first.
        files: those that they are kept in, in the same order, if they are.

    Attributes:
        name: of the files.
    """

    name: ClassVar[str]

    def __init__(self, parts: Sequence[ModalityIndex], files: Sequence[Path] = ()) -> None:
        self.parts, self.files = tuple(parts), tuple(files)

    @classmethod
    @abstractmethod
    def empty(cls, faiss: Any, additions: VectorBlocks) -> Any:
        """Return an index of FAISS that vectors can be added to."""

    @staticmethod
    @abstractmethod
    def among(faiss: Any, index: Any, k: int, share: float) -> Any:
        """Return the parameters of a search for k rows where a share of all counts."""

    @staticmethod
    @abstractmethod
    def exactly(
        index: Any, queries: Float[np.ndarray, "m d"], k: int, mask: Bool[np.ndarray, " n"]
    ) -> tuple[Scores, Positions]:
        """Compare queries with every vector of a mask."""

    @staticmethod
    @abstractmethod
    def vectors(index: Any, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """Return some of the vectors."""

    @classmethod
    def build(cls, additions: VectorBlocks, location: str | None) -> Self:
        return cls([]).extended(additions, location)

    def extended(self, additions: VectorBlocks, location: str | None) -> Self:
        faiss = require("faiss", "index")
        files = dict(zip([part.modality for part in self.parts], self.files, strict=False))
        parts = {part.modality: part for part in self.parts}
        for modality, rows in _rows_of(additions.table):
            some = additions.of(modality)
            if before := parts.get(modality):
                index, held = faiss.clone_index(before.index), [before.rows]
            else:
                index, held = self.empty(faiss, some), []
            for block in some.blocks():
                index.add(block)
            parts[modality] = ModalityIndex(modality, index, np.concatenate([*held, additions.first + rows]))
            if location is not None:
                files[modality] = next_file(Path(location), f"{self.name}.faiss")
                with writing(files[modality]) as unfinished:
                    faiss.write_index(index, str(unfinished))
        return type(self)([*parts.values()], [*files.values()])

    @classmethod
    def open(cls, location: str, files: Sequence[Path], table: pl.DataFrame, width: int) -> Self:
        faiss, parts, held = require("faiss", "index"), [], [*_rows_of(table)]
        if len(files) != len(held):
            raise ValueError(f"it has {counted(len(files), 'file')} of FAISS for {len(held)} modalities")
        for path, (modality, rows) in zip(files, held, strict=True):
            try:
                index = faiss.read_index(str(path))
            except RuntimeError as error:
                raise ValueError(f"FAISS cannot read it: {str(error).splitlines()[0]}") from error
            if (index.ntotal, index.d) != (len(rows), width):
                raise ValueError(
                    f"it holds {index.ntotal:,} vectors of {index.d}, not {len(rows):,} of {width}"
                )
            parts.append(ModalityIndex(modality, index, rows))
        return cls(parts, files)

    def nearest(
        self, queries: Float[np.ndarray, "m d"], k: int, chosen: RowSelection | None
    ) -> tuple[Scores, Positions]:
        found = []
        for part in self.parts:
            if chosen is None or chosen.modality in (None, part.modality):
                mask = None if chosen is None or chosen.every else chosen.mask[part.rows]
                scores, rows = self._nearest(part, queries, min(k, len(part.rows)), mask)
                found.append((scores, np.where(rows < 0, -1, part.rows[rows])))
        return _best(found, k)

    def _nearest(
        self,
        part: ModalityIndex,
        queries: Float[np.ndarray, "m d"],
        k: int,
        mask: Bool[np.ndarray, " n"] | None,
    ) -> tuple[Scores, Positions]:
        """Search in one part."""
        if mask is None or mask.all():
            return self._completed(part, self._among_all(part, queries, k), queries, None)
        faiss, count = require("faiss", "index"), int(mask.sum())
        if count <= max(_FEW, k):
            return self.exactly(part.index, queries, k, mask)
        share = count / len(mask)
        parameters = self.among(faiss, part.index, k, share)
        parameters.sel = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        scores, rows = part.index.search(queries, k, params=parameters)
        # Rows of a condition may lie apart from a query: a search around it meets a few, and not the nearest.
        near = self._among_all(part, queries, min(_LOOK, len(mask)))[1]
        rows[mask[near].mean(1) < share / 4] = -1
        return self._completed(part, (scores, rows), queries, mask)

    def _among_all(
        self, part: ModalityIndex, queries: Float[np.ndarray, "m d"], k: int
    ) -> tuple[Scores, Positions]:
        # One object for all searches: to make one takes as long as a tenth of a search.
        if k not in part.parameters:
            part.parameters[k] = self.among(require("faiss", "index"), part.index, k, 1.0)
        return part.index.search(queries, k, params=part.parameters[k])

    def _completed(
        self,
        part: ModalityIndex,
        results: tuple[Scores, Positions],
        queries: Float[np.ndarray, "m d"],
        mask: Bool[np.ndarray, " n"] | None,
    ) -> tuple[Scores, Positions]:
        """Search anew, and exactly, for the queries that found fewer than they asked for."""
        scores, rows = results
        short = rows[:, -1] < 0  # what was not found stands behind what was
        if short.any():
            mask = np.ones(len(part.rows), bool) if mask is None else mask
            scores[short], rows[short] = self.exactly(part.index, queries[short], scores.shape[1], mask)
        return scores, rows

    def take(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        taken = np.empty((len(rows), self.parts[0].index.d), np.float32)
        for part in self.parts:
            places = np.searchsorted(part.rows, rows).clip(max=len(part.rows) - 1)
            here = part.rows[places] == rows
            taken[here] = self.vectors(part.index, places[here])
        return taken


def _rows_of(table: pl.DataFrame) -> Iterator[tuple[str, Int[np.ndarray, " n"]]]:
    """Yield every modality of a table with its rows, in the order in which they come first."""
    for modality in table["modality"].unique(maintain_order=True):
        yield modality, np.flatnonzero((table["modality"] == modality).to_numpy())


def _best(
    results: Sequence[tuple[Float[np.ndarray, "m _"], Int[np.ndarray, "m _"]]], k: int
) -> tuple[Scores, Positions]:
    """Return the k best of what was found in several parts."""
    if len(results) == 1 and results[0][0].shape[1] == k:
        return results[0]
    scores, rows = (np.concatenate(each, 1) for each in zip(*results, strict=True))
    order = np.argsort(-scores, 1, kind="stable")[:, :k]
    lacking = ((0, 0), (0, k - order.shape[1]))
    best = np.pad(np.take_along_axis(scores, order, 1), lacking, constant_values=-np.inf)
    return best, np.pad(np.take_along_axis(rows, order, 1), lacking, constant_values=-1)


_FEW = 20_000
"""Chosen rows of which every one is compared, which takes no longer than a search that must pass over all others."""

_LOOK = 64
"""Rows nearest to a query, which show whether it lies among those that are chosen."""
