"""A graph of near vectors, through which a search walks: FAISS' HNSW."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Bool, Float, Int

from ....registry import require
from . import exact
from ._faiss import FaissKind
from ._kind import Positions, Scores, VectorBlocks

_NEIGHBOURS = 32
_WHILE_BUILDING = 128
_LEAST = 128  # vectors that a search keeps in view


@final
class HNSW(FaissKind):
    """A search through a graph of near vectors: quick at any size, and slow to build."""

    form: ClassVar[str] = "a graph of near vectors (FAISS); it takes longer to build"
    name: ClassVar[str] = "hnsw"

    @classmethod
    def empty(cls, faiss: Any, additions: VectorBlocks) -> Any:
        index = faiss.IndexHNSWFlat(additions.width, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _WHILE_BUILDING
        return index

    @staticmethod
    def among(faiss: Any, index: Any, k: int, share: float) -> Any:
        # The walk passes over rows that do not count as over those that do.
        return faiss.SearchParametersHNSW(efSearch=int(max(_LEAST, 2 * k) / share))

    @staticmethod
    def exactly(
        index: Any, queries: Float[np.ndarray, "m d"], k: int, mask: Bool[np.ndarray, " n"]
    ) -> tuple[Scores, Positions]:
        return exact.nearest([_stored(index)], queries, k, mask)

    @staticmethod
    def vectors(index: Any, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        return _stored(index)[rows]


def _stored(index: Any) -> Float[np.ndarray, "n d"]:
    """Return the vectors where FAISS has them."""
    faiss = require("faiss", "index")
    held = faiss.downcast_index(index.storage)
    return faiss.rev_swig_ptr(held.get_xb(), held.ntotal * held.d).reshape(held.ntotal, held.d)
