"""Vectors in groups around centres, of which a search reads the nearest: FAISS' IVF."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Bool, Float, Int

from ....registry import require
from ._faiss import FaissKind
from ._kind import Positions, Scores, VectorBlocks

_TRAINED_ON = 64  # vectors a group, from which the centres are found
_SHARE = 8  # one group in so many is read


@final
class IVF(FaissKind):
    """A search in the nearest of many groups: built in less time than a graph, and not as quick."""

    form: ClassVar[str] = "groups of near vectors, of which the nearest are read (FAISS)"
    name: ClassVar[str] = "ivf"

    @classmethod
    def empty(cls, faiss: Any, additions: VectorBlocks) -> Any:
        groups = _groups(len(additions))
        index = faiss.index_factory(additions.width, f"IVF{groups},Flat", faiss.METRIC_INNER_PRODUCT)
        wanted = np.unique(np.linspace(0, len(additions) - 1, groups * _TRAINED_ON).astype(int))
        kept, first = [], 0
        for block in additions.blocks():
            here = wanted[(wanted >= first) & (wanted < first + len(block))] - first
            kept.append(block[here])
            first += len(block)
        index.cp.min_points_per_centroid = 1  # of few vectors FAISS would warn
        index.train(np.concatenate(kept))
        return index

    @staticmethod
    def among(faiss: Any, index: Any, k: int, share: float) -> Any:
        return faiss.SearchParametersIVF(nprobe=max(8, index.nlist // _SHARE))

    @staticmethod
    def exactly(
        index: Any, queries: Float[np.ndarray, "m d"], k: int, mask: Bool[np.ndarray, " n"]
    ) -> tuple[Scores, Positions]:
        faiss = require("faiss", "index")
        chosen = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        scores, rows = index.search(
            queries, k, params=faiss.SearchParametersIVF(sel=chosen, nprobe=index.nlist)
        )
        scores[rows < 0] = -np.inf
        return scores, rows

    @staticmethod
    def vectors(index: Any, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        index.make_direct_map()
        return index.reconstruct_batch(rows)


def _groups(rows: int) -> int:
    """Return how many groups a number of vectors is put into.

    >>> _groups(100), _groups(1_000_000)
    (10, 4000)
    """
    return max(round(min(4.0, rows / 10_000 + 1) * rows**0.5), 1)
