"""The part that kinds of index of FAISS share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Bool, Float

from ....files import writing
from ....registry import require
from ._kind import Additions, Chosen, Kind, Positions, Scores, next_file


class FaissKind(Kind):
    """An index of FAISS, in memory while it is used.

    Args:
        index: of FAISS, by inner products.
        files: the one that it is kept in, if it is.

    Attributes:
        name: of its file.
    """

    name: ClassVar[str]

    def __init__(self, index: Any, files: Sequence[Path] = ()) -> None:
        self.index, self.files = index, tuple(files)
        # Parameters of searches through every row, by how many they find.
        self._unrestricted: dict[int, Any] = {}

    @classmethod
    @abstractmethod
    def empty(cls, faiss: Any, additions: Additions) -> Any:
        """Return an index of FAISS that vectors can be added to."""

    @abstractmethod
    def among(self, faiss: Any, k: int, share: float) -> Any:
        """Return the parameters of a search for k rows where a share of all counts."""

    @abstractmethod
    def exactly(
        self, queries: Float[np.ndarray, "m d"], k: int, mask: Bool[np.ndarray, " n"]
    ) -> tuple[Scores, Positions]:
        """Compare queries with every vector of a mask."""

    @classmethod
    def build(cls, additions: Additions, location: str | None) -> Self:
        return cls(cls.empty(require("faiss", "index"), additions)).extended(additions, location)

    def extended(self, additions: Additions, location: str | None) -> Self:
        faiss = require("faiss", "index")
        index = faiss.clone_index(self.index)
        for block in additions.blocks():
            index.add(block)
        if location is None:
            return type(self)(index)
        path = next_file(Path(location), f"{self.name}.faiss")
        with writing(path) as part:
            faiss.write_index(index, str(part))
        return type(self)(index, [path])

    @classmethod
    def open(cls, location: str, files: Sequence[Path], rows: int, width: int) -> Self:
        faiss = require("faiss", "index")
        try:
            index = faiss.read_index(str(files[0]))
        except RuntimeError as error:
            raise ValueError(f"FAISS cannot read it: {str(error).splitlines()[0]}") from error
        if (index.ntotal, index.d) != (rows, width):
            raise ValueError(f"it holds {index.ntotal:,} vectors of {index.d}, not {rows:,} of {width}")
        return cls(index, files)

    def nearest(
        self, queries: Float[np.ndarray, "m d"], k: int, chosen: Chosen | None
    ) -> tuple[Scores, Positions]:
        if chosen is None:
            return self._completed(self._among_all(queries, k), queries, None)
        faiss, count = require("faiss", "index"), int(chosen.mask.sum())
        if count <= max(_FEW, k):
            return self.exactly(queries, k, chosen.mask)
        share = count / self.index.ntotal
        parameters = self.among(faiss, k, share)
        parameters.sel = faiss.IDSelectorBitmap(np.packbits(chosen.mask, bitorder="little"))
        scores, rows = self.index.search(queries, k, params=parameters)
        # A text may be near to texts alone: of pictures, a search around it meets a few, and not the nearest.
        near = self._among_all(queries, min(_LOOK, self.index.ntotal))[1]
        rows[chosen.mask[near].mean(1) < share / 4] = -1
        return self._completed((scores, rows), queries, chosen.mask)

    def _among_all(self, queries: Float[np.ndarray, "m d"], k: int) -> tuple[Scores, Positions]:
        # One object for all searches: to make one takes as long as a tenth of a search.
        if k not in self._unrestricted:
            self._unrestricted[k] = self.among(require("faiss", "index"), k, 1.0)
        return self.index.search(queries, k, params=self._unrestricted[k])

    def _completed(
        self,
        results: tuple[Scores, Positions],
        queries: Float[np.ndarray, "m d"],
        mask: Bool[np.ndarray, " n"] | None,
    ) -> tuple[Scores, Positions]:
        """Search anew, and exactly, for the queries that found fewer than they asked for."""
        scores, rows = results
        short = rows[:, -1] < 0  # what was not found stands behind what was
        if short.any():
            mask = np.ones(self.index.ntotal, bool) if mask is None else mask
            scores[short], rows[short] = self.exactly(queries[short], scores.shape[1], mask)
        return scores, rows


_FEW = 20_000
"""Chosen rows of which every one is compared, which takes no longer than a search that must pass over all others."""

_LOOK = 64
"""Rows nearest to a query, which show whether it lies among those that are chosen."""
