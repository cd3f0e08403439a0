"""An index with further vectors: what its record, its table and its kind become."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float

from ...files import digest_of_file
from ...reasons import counted
from ...registry import Registry
from ..vectors import VectorProvenance, Vectors
from .coordinates import coordinates
from .kinds._kind import IndexBackend, VectorBlocks
from .storage import IndexedChunk, IndexManifest, Storage

INDEX_KINDS = Registry("kind of index", "counterpoint.serving.indexing.kinds")
"""Kinds of index; each file holds a `IndexBackend`."""

Way = Literal["pca", "tsne"]
PLACED = ("x", "y")
"""Columns of a map."""


def extended(
    record: IndexManifest,
    table: pl.DataFrame,
    held: IndexBackend | None,
    storage: Storage | None,
    vectors: Vectors,
    way: Way | None,
) -> tuple[IndexManifest, pl.DataFrame, IndexBackend]:
    """Return an index with the parts of some vectors that it does not have.

    Raises:
        InUseError: if another process writes the index.
        ValueError: if another process has changed it since it was opened, and as for `Index.add`.
    """
    about = vectors.about
    known = {taken.digest for taken in record.parts}
    digests = {part: digest_of_file(part) for part in vectors.parts}
    new = [part for part in vectors.parts if digests[part] not in known]
    if not new and held is not None and way == record.map:
        return record, table, held
    if about.width != record.about.width:
        raise ValueError(f"{vectors.folder} has vectors of width {about.width}, not {record.about.width}")
    with _alone(record, storage):
        before = table.drop(PLACED, strict=False)
        if new:
            added = pl.concat([vectors.read(part)[1] for part in new], how="diagonal_relaxed")
            _check_ids(before, added, record, about)
            _check_kinds(before, added)
            whole = pl.concat([before, added], how="diagonal") if len(before) else added

            def blocks() -> Iterator[np.ndarray]:
                return (_unit(vectors.read(part)[0]) for part in new)

            additions = VectorBlocks(
                whole[len(before) :], about.width, record.about.dtype, blocks, first=len(before)
            )
            build = INDEX_KINDS.get(record.kind).build if held is None else held.extended
            held = build(additions, None if storage is None else storage.where)
        else:
            whole = before
        assert held is not None
        if way is not None:
            placed = coordinates(held.take, whole["modality"].to_numpy(), way)
            whole = whole.with_columns(
                pl.Series(name, placed[:, axis]).fill_nan(None) for axis, name in enumerate(PLACED)
            )
        folder = str(vectors.folder.absolute())
        parts = [
            IndexedChunk(folder=folder, part=part.name, digest=digests[part], data=about.data) for part in new
        ]
        after = record.model_copy(update={"rows": len(whole), "map": way, "parts": (*record.parts, *parts)})
        return (after if storage is None else storage.write(after, whole, held.files)), whole, held


@contextmanager
def _alone(record: IndexManifest, storage: Storage | None) -> Iterator[None]:
    """Keep others from writing an index, of which what is in memory must be what is stored.

    Two commands at once would write files of one name, and the later record would leave out what the earlier one added.
    """
    if storage is None:
        yield
        return
    with storage.held():
        if storage.record() != (record if record.parts else None):
            raise ValueError(
                f"another process has changed {storage.where} since it was opened: open it again; the same command "
                "goes on from what is there"
            )
        yield


def _check_kinds(before: pl.DataFrame, added: pl.DataFrame) -> None:
    """Refuse a label that is numbers in the index and texts in the vectors, or the reverse."""
    for name, kind in added.schema.items():
        if before.schema.get(name, kind) != kind:
            kinds = ["texts" if each == pl.String else "numbers" for each in (before.schema[name], kind)]
            raise ValueError(
                f"{name} is {kinds[0]} in the index and {kinds[1]} in the vectors: make a new index of them"
            )


def _check_ids(
    before: pl.DataFrame, added: pl.DataFrame, record: IndexManifest, about: VectorProvenance
) -> None:
    """Refuse a row that is in the index already, and one that shares its id with a row of other data."""
    if not len(before):
        return
    same = {taken.data for taken in record.parts} == {about.data}
    shared = before.join(added, on=["id", "modality"] if same else ["id"], how="semi")
    if len(shared):
        meant = "are in the index already" if same else "stand in the index for rows of other data"
        raise ValueError(
            f"{counted(len(shared), 'row')} of the vectors {meant}, the first of id {shared['id'][0]}: make a new "
            "index, of data whose rows have ids of their own"
        )


def _unit(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Return vectors of norm one; one of zero stays as it is, and is near to nothing."""
    single = vectors.astype(np.float32)
    norms = np.linalg.norm(single, axis=1, keepdims=True)
    return single / np.where(norms > 0, norms, 1)
