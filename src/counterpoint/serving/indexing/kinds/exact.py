"""Every vector compared with the query, in chunks, from memory-mapped files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Self, final

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int

from ....files import writing
from ....room import allocate
from ._kind import IndexBackend, Positions, RowSelection, Scores, VectorBlocks, next_file

_QUERIES = 256  # compared with a chunk at once
_CELLS = 2**20  # of the scores of a chunk, which then stay in the processor's cache
_FEWEST, _MOST = 2**10, 2**18  # rows of a chunk
_FIRST = 16  # the first chunk is that part of the others
_HALVES = 2**12  # rows of a chunk of float16, whose copy in float32 stays in the cache too
_SINGLY = 3  # queries up to which one product after the other is faster than all together
_SPARSE = 4  # where less than one row in so many is chosen, the others are not computed


@final
class Exact(IndexBackend):
    """Exact search: every vector is compared. Nothing is in memory but what the system keeps of the files.

    Args:
        arrays: the vectors, of norm one, in order, ``(n, d)`` each.
        files: that they are mapped from.
    """

    form: ClassVar[str] = "every vector is compared; files of NumPy"

    def __init__(self, arrays: Sequence[np.ndarray], files: Sequence[Path] = ()) -> None:
        self.arrays, self.files = tuple(arrays), tuple(files)

    @classmethod
    def build(cls, additions: VectorBlocks, location: str | None) -> Self:
        return cls([]).extended(additions, location)

    def extended(self, additions: VectorBlocks, location: str | None) -> Self:
        if location is None:
            whole = np.empty((len(additions), additions.width), additions.dtype)
            _fill(whole, additions.blocks())
            return type(self)([*self.arrays, whole])
        path = next_file(Path(location), "vectors.npy")
        with writing(path) as part:
            shape = (len(additions), additions.width)
            mapped = np.lib.format.open_memmap(part, "w+", dtype=additions.dtype, shape=shape)
            allocate(part)
            _fill(mapped, additions.blocks())
            mapped.flush()
        return type(self)([*self.arrays, _mapped(path)], [*self.files, path])

    @classmethod
    def open(cls, location: str, files: Sequence[Path], table: pl.DataFrame, width: int) -> Self:
        arrays = [_mapped(path) for path in files]
        shapes = {array.shape[1:] for array in arrays}
        if sum(map(len, arrays)) != len(table) or shapes != {(width,)}:
            raise ValueError(f"its vectors are not {len(table):,} of {width} numbers")
        return cls(arrays, files)

    def nearest(
        self, queries: Float[np.ndarray, "m d"], k: int, chosen: RowSelection | None
    ) -> tuple[Scores, Positions]:
        return nearest(self.arrays, queries, k, None if chosen is None else chosen.mask)

    def take(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        taken = np.empty((len(rows), self.arrays[0].shape[1]), np.float32)
        first = 0
        for array in self.arrays:
            here = (rows >= first) & (rows < first + len(array))
            taken[here] = array[rows[here] - first]
            first += len(array)
        return taken


def nearest(
    arrays: Sequence[np.ndarray],
    queries: Float[np.ndarray, "m d"],
    k: int,
    mask: Bool[np.ndarray, " n"] | None = None,
) -> tuple[Scores, Positions]:
    """Compare queries with all vectors, or with those of a mask; see `IndexBackend.nearest`.

    Of equal scores the first counts.

    Args:
        arrays: the vectors, in order, ``(n, d)`` each, of float32 or float16.
        queries: of float32.
        k: how many for each query.
        mask: which of the vectors count.
    """
    parts = [_of_some(arrays, queries[start : start + _QUERIES], k, mask) for start in _starts(len(queries))]
    return np.concatenate([scores for scores, _ in parts]), np.concatenate([rows for _, rows in parts])


def _starts(count: int) -> range:
    return range(0, count, _QUERIES)


def _of_some(
    arrays: Sequence[np.ndarray],
    queries: Float[np.ndarray, "m d"],
    k: int,
    mask: Bool[np.ndarray, " n"] | None,
) -> tuple[Scores, Positions]:
    contiguous, best = np.ascontiguousarray(queries, np.float32), _Best(len(queries), k)
    room, first = np.empty(0, np.float32), 0
    for array in arrays:
        for start, end in _chunks(len(array), len(queries), array.dtype == np.float16):
            chunk, rows, left_out = array[start:end], np.arange(first + start, first + end), None
            if mask is not None:
                here = mask[first + start : first + end]
                count = int(here.sum())
                if not count:
                    continue
                if count * _SPARSE < len(here):
                    chunk, rows = chunk[here], rows[here]
                elif count < len(here):
                    left_out = ~here
            cells = len(queries) * len(chunk)
            room = room if len(room) >= cells else np.empty(cells, np.float32)
            scores = room[:cells].reshape(len(queries), len(chunk))
            _multiply(contiguous, _single(chunk), scores)
            if left_out is not None:
                scores[:, left_out] = -np.inf
            best.offer(scores, rows)
        first += len(array)
    return best.scores, best.rows


def _single(chunk: np.ndarray) -> Float[np.ndarray, "c d"]:
    """Return a chunk in float32; torch converts numbers of float16 faster than NumPy does."""
    return torch.from_numpy(chunk).float().numpy() if chunk.dtype == np.float16 else chunk


def _multiply(
    queries: Float[np.ndarray, "m d"],
    chunk: Float[np.ndarray, "c d"],
    scores: Float[np.ndarray, "m c"],
) -> None:
    """Write the products of queries and vectors.

    NumPy's, as its BLAS is as fast on the processors of every maker.
    """
    if len(queries) > _SINGLY:
        np.matmul(queries, chunk.T, out=scores)
    else:
        for query, row in zip(queries, scores, strict=True):
            np.matmul(chunk, query, out=row)


def _chunks(rows: int, queries: int, halves: bool) -> Iterator[tuple[int, int]]:
    """Yield where chunks begin and end: a small one first, after which few scores are above the least of the best."""
    most = max(min(_CELLS // queries, _HALVES if halves else _MOST), _FEWEST)
    start, end = 0, min(max(most // _FIRST, 1), rows)
    while start < rows:
        yield start, end
        start, end = end, min(end + most, rows)


class _Best:
    """The k largest scores of every query so far, in order."""

    def __init__(self, queries: int, k: int) -> None:
        self.scores = np.full((queries, k), -np.inf, np.float32)
        self.rows = np.full((queries, k), -1, np.int64)

    def offer(self, scores: Float[np.ndarray, "m c"], rows: Int[np.ndarray, " c"]) -> None:
        """Take in the scores of some rows that come after all before; most are never looked at one by one."""
        k, least = self.scores.shape[1], self.scores[:, -1]
        better = np.flatnonzero(scores.max(1) > least)
        if not len(better):
            return
        some = scores[better]
        whose, where = np.nonzero(some > least[better, None])
        queries = np.concatenate([np.repeat(np.arange(len(better)), k), whose])
        values = np.concatenate([self.scores[better].ravel(), some[whose, where]])
        places = np.concatenate([self.rows[better].ravel(), rows[where]])
        order = np.lexsort((-values, queries))  # stable, so that of equal scores the earlier row stays before
        begins = np.searchsorted(queries[order], np.arange(len(better)))
        kept = order[begins[:, None] + np.arange(k)]
        self.scores[better], self.rows[better] = values[kept], places[kept]


def _fill(whole: np.ndarray, blocks: Iterator[np.ndarray]) -> None:
    start = 0
    for block in blocks:
        whole[start : start + len(block)] = block
        start += len(block)


def _mapped(path: Path) -> np.ndarray:
    """Map a file's array."""
    mapped = np.load(path, mmap_mode="c", allow_pickle=False)  # which torch takes for one that can be written
    return mapped.view(np.ndarray)  # without the cost of a subclass at every slice
