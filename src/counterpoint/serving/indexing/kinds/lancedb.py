"""Vectors with their columns in LanceDB: a folder, or a database at an address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, final

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float, Int

from ....registry import require
from ._kind import IndexBackend, Positions, RowSelection, Scores, VectorBlocks

TABLE = "vectors"
POSITION = "position_in_index"
_FLAT = 200_000  # up to so many vectors LanceDB compares them all
_BATCH = 50_000  # rows: LanceDB keeps what is added at once in few files, and never puts small ones together


@final
class LanceDB(IndexBackend):
    """A table of LanceDB: vectors and columns, on this machine or in an object store.

    Args:
        table: of LanceDB.
        rows: those of the table that count; what stands after them was written by a command that did not end.
    """

    form: ClassVar[str] = "a table of LanceDB, in a folder or at an address (s3://…)"
    database: ClassVar[bool] = True

    def __init__(self, table: Any, rows: int) -> None:
        self.table, self.rows = table, rows
        held = table.count_rows()
        self.more, self.grouped = held > rows, held > _FLAT

    @classmethod
    def build(cls, additions: VectorBlocks, location: str | None) -> Self:
        if location is None:
            raise ValueError("an index of kind lancedb is in a database: say where with --out (out=…)")
        if dotted := [name for name in additions.table.columns if "." in name]:
            raise ValueError(
                f"LanceDB takes no column whose name has a dot, as {', '.join(dotted)}: rename it in the data and "
                "embed again, or take another kind"
            )
        database = connected(location)
        there = opened(database, TABLE)
        if there is not None and POSITION not in there.schema.names:
            raise ValueError(f"{location} has a table {TABLE!r} that is no index: give another database")
        return cls(_indexed(put(database, TABLE, _reader(additions))), len(additions))

    def extended(self, additions: VectorBlocks, location: str | None) -> Self:
        assert location is not None  # it is in a database
        table = connected(location).open_table(TABLE)
        table.delete(f"{POSITION} >= {additions.first}")  # left by a command that did not end
        if more := set(additions.table.columns) - set(table.schema.names):
            raise ValueError(
                f"{location} has no column {', '.join(sorted(more))}, as the vectors have: make a new index of all"
            )
        table.add(_reader(additions))
        return type(self)(_indexed(table), additions.first + len(additions))

    @classmethod
    def open(cls, location: str, files: Sequence[Path], table: pl.DataFrame, width: int) -> Self:
        stored, rows = opened(connected(location), TABLE), len(table)
        if stored is None:
            raise ValueError(f"it has no table {TABLE!r}")
        try:
            # The positions are read, and with them the ends of all files.
            held, list_size = (
                stored.count_rows(f"{POSITION} < {rows}"),
                stored.schema.field("vector").type.list_size,
            )
        except (ValueError, RuntimeError, KeyError) as error:
            raise ValueError(f"LanceDB cannot read its table: {str(error).splitlines()[0]}") from error
        if held != rows or list_size != width:
            raise ValueError(f"its table holds {held:,} vectors of {list_size}, not {rows:,} of {width}")
        return cls(stored, rows)

    def nearest(
        self, queries: Float[np.ndarray, "m d"], k: int, chosen: RowSelection | None
    ) -> tuple[Scores, Positions]:
        # LanceDB reads the groups that are nearest to a query, whatever rows they hold.
        exactly = self.grouped and chosen is not None and chosen.modality is not None
        scores, rows = self._search(queries, k, chosen, exactly=exactly)
        if self.grouped and not exactly:
            there = min(k, self.rows if chosen is None else int(chosen.mask.sum()))
            short = (rows >= 0).sum(1) < there
            if short.any():
                scores[short], rows[short] = self._search(queries[short], k, chosen, exactly=True)
        return scores, rows

    def _search(
        self, queries: Float[np.ndarray, "m d"], k: int, chosen: RowSelection | None, *, exactly: bool
    ) -> tuple[Scores, Positions]:
        """Search by LanceDB's own index, or compare queries with every row that counts."""
        search = self.table.search(queries, vector_column_name="vector", query_type="vector")
        search = search.distance_type("cosine").select([POSITION, "_distance"]).limit(k)
        if exactly:
            search = search.bypass_vector_index()
        conditions = [f"{POSITION} < {self.rows}"] * self.more + ([f"({chosen.condition})"] if chosen else [])
        if conditions:
            search = search.where(" AND ".join(conditions), prefilter=True)
        try:
            hits = search.to_arrow()
        except (ValueError, RuntimeError) as error:
            if chosen is None:
                raise
            raise ValueError(f"LanceDB does not take the condition: {str(error).splitlines()[0]}") from error
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        single = "query_index" not in hits.column_names
        whose = np.zeros(len(hits), int) if single else hits["query_index"].to_numpy()
        for query in range(len(queries)):
            mask = whose == query
            count = int(mask.sum())
            scores[query, :count] = 1 - hits["_distance"].to_numpy()[mask]
            rows[query, :count] = hits[POSITION].to_numpy()[mask]
        return scores, rows

    def take(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        condition = f"{POSITION} IN ({', '.join(map(str, rows.tolist()))})"
        stored = self.table.search().where(condition).select([POSITION, "vector"]).limit(len(rows)).to_arrow()
        column = stored["vector"].combine_chunks()
        vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(stored), -1)
        order = np.argsort(stored[POSITION].to_numpy())
        return vectors[order][np.searchsorted(stored[POSITION].to_numpy()[order], rows)].astype(np.float32)


def connected(location: str) -> Any:
    """Connect to a database.

    Raises:
        MissingPackageError: without LanceDB.
        ValueError: for an address that it does not know.
    """
    lancedb = require("lancedb", "lance")
    try:
        return lancedb.connect(location)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"LanceDB cannot open {location}: {str(error).splitlines()[0]}") from error


def opened(database: Any, name: str) -> Any:
    """Open a table of a database; None where there is none.

    Raises:
        ValueError: where LanceDB cannot say.
    """
    try:
        return database.open_table(name)
    except (ValueError, RuntimeError) as error:
        if "not found" in str(error):
            return None
        raise ValueError(f"LanceDB cannot open {database.uri}: {str(error).splitlines()[0]}") from error


def put(database: Any, name: str, rows: pa.Table | pa.RecordBatchReader) -> Any:
    """Write a table, in place of what is there."""
    return database.create_table(name, rows, mode="create" if opened(database, name) is None else "overwrite")


def _indexed(table: Any) -> Any:
    """Return a table that LanceDB searches by an index of its own, if it has many rows."""
    if table.count_rows() > _FLAT:
        index = require("lancedb.index", "lance")
        table.create_index("vector", config=index.IvfFlat(distance_type="cosine"))
    return table


def _reader(additions: VectorBlocks) -> pa.RecordBatchReader:
    """Return all rows as batches of one table, so that they are added in one go or not at all."""
    kind = pa.list_(pa.float16() if additions.dtype == "float16" else pa.float32(), additions.width)
    plain = additions.table.head(0).to_arrow(compat_level=pl.CompatLevel.oldest())
    columns = [pa.field(POSITION, pa.int64()), *plain.schema, pa.field("vector", kind)]
    schema = pa.schema(columns)

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for block in _large(additions.blocks()):
            rows = additions.table[start : start + len(block)]
            numbers = pa.array(np.ascontiguousarray(block, additions.dtype).reshape(-1))
            batch = rows.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
            arrays = [
                pa.array(np.arange(additions.first + start, additions.first + start + len(block))),
                *(column.combine_chunks() for column in batch.columns),
                pa.FixedSizeListArray.from_arrays(numbers, type=kind),
            ]
            yield pa.record_batch(arrays, schema=schema)
            start += len(block)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _large(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Put small blocks together."""
    held: list[np.ndarray] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= _BATCH:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)
