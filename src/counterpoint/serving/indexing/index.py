"""An index: vectors and what is known of each, with the model that embeds what is asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Self, final, overload

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from ...files import DamagedFileError
from ...methods.tower_method import TowerMethod
from ...models import load
from ...reasons import counted
from ...registry import unknown
from ..vectors import VectorProvenance, Vectors
from . import condition as _condition
from .extending import INDEX_KINDS, PLACED, Way, extended
from .hits import Hits, SearchResult
from .kinds._kind import IndexBackend, RowSelection
from .query import Query, embedded
from .storage import IndexManifest, Storage, is_address, storage_of

EXACT_UP_TO = 2_000_000
"""Vectors up to which an index is exact unless another kind is asked for."""

EVERY = "all"
"""Word for every modality of an index."""

_USUAL = 10  # rows that are found unless a number is given


@final
class Index:
    """Vectors that can be searched; made by `index`, opened by `Index.open`.

    Attributes:
        about: the origin of the vectors.
        kind: of the index: ``exact``, ``hnsw``, ``ivf`` or ``lancedb``.
        table: what is known of every vector, in order: ``id``, ``key``, ``modality``, ``split``, ``text``, every
            label (numbers as numbers), and with a map ``x`` and ``y`` (null for a row that it leaves out).
        storage: of the index; None in memory.
    """

    def __init__(
        self, record: IndexManifest, table: pl.DataFrame, vectors: IndexBackend, storage: Storage | None
    ) -> None:
        self._record, self.table, self._vectors, self.storage = record, table, vectors, storage
        self._model: TowerMethod | None = None

    @classmethod
    def open(cls, where: str | Path) -> Self:
        """Open an index.

        Args:
            where: its folder, or the address of its database.

        Raises:
            FileNotFoundError: if there is none.
            DamagedFileError: if it is not whole; the message is the command that makes it again.
            MissingPackageError: without the package of its kind.
            ValueError: for a place that holds something else.
        """
        storage = storage_of(where)
        while (record := storage.record()) is not None:
            try:
                return cls._read(record, storage)
            except DamagedFileError:
                # Files are not there any more either where another process has added to the index meanwhile.
                if storage.record() == record:
                    raise
        raise FileNotFoundError(
            f"there is no index at {where}: make one with counterpoint index VECTORS --out {where}"
        )

    @classmethod
    def _read(cls, record: IndexManifest, storage: Storage) -> Self:
        table, files = storage.table(record), storage.files(record)
        try:
            if len(table) != record.rows:
                raise ValueError(f"its table has {len(table):,} rows, not {record.rows:,}")
            vectors = INDEX_KINDS.get(record.kind).open(storage.where, files, table, record.about.width)
        except (ValueError, OSError) as error:
            broken = files[0] if files else Path(storage.where)
            raise DamagedFileError(broken, str(error), record.remedy(storage.where)) from error
        return cls(record, table, vectors, storage)

    @property
    def about(self) -> VectorProvenance:
        return self._record.about

    @property
    def kind(self) -> str:
        return self._record.kind

    @property
    def map(self) -> Way | None:
        """The way in which the coordinates ``x`` and ``y`` were found; None without a map."""
        return self._record.map

    def __len__(self) -> int:
        return len(self.table)

    @property
    def model(self) -> TowerMethod:
        """The model that made the vectors, loaded when it is first asked for; one without a name can be set.

        Raises:
            ValueError: if it cannot be loaded, or is not what it was.
        """
        if self._model is None:
            if not self.about.model:
                raise ValueError(
                    "these vectors were made by a model without a name: set it (index.model = model), or give "
                    "embedded queries to index.nearest"
                )
            self.model = load(self.about.model)
        assert self._model is not None
        return self._model

    @model.setter
    def model(self, model: TowerMethod) -> None:
        if model.fingerprint != self.about.fingerprint:
            raise ValueError(
                f"{self.about.model or 'this model'} is not the model that made the vectors: its fingerprint is "
                f"{model.fingerprint}, theirs {self.about.fingerprint}; embed the data again, and make a new index"
            )
        self._model = model

    def vectors(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """Return the vectors of some rows of the table, of norm one."""
        return self._vectors.take(rows)

    @overload
    def search(
        self, query: Query, k: int | None = None, *, where: str | None = None, modality: str | None = None
    ) -> Hits: ...

    @overload
    def search(
        self, query: list[Any], k: int | None = None, *, where: str | None = None, modality: str | None = None
    ) -> list[Hits]: ...

    def search(
        self,
        query: Query | list[Any],
        k: int | None = None,
        *,
        where: str | None = None,
        modality: str | None = None,
    ) -> Hits | list[Hits]:
        """Embed a query with the index's model and find the nearest vectors.

        Vectors of the query's own modality are in general nearer than those of another, so one modality is searched:
        pictures, where pictures and texts are in the index.

        Args:
            query: a text; a file as a path (`pathlib.Path`), of a picture, a sound, a film, a recording; a picture as a
                file's bytes, Pillow's, or uint8 ``(3, H, W)``; or a list of these.
            k: how many to find; ten unless given, or all where there are fewer.
            where: an SQL condition on the table's columns, applied before the search: ``"split = 'train'"``.
            modality: search the vectors of this one; the first of the index unless given, and ``"all"`` searches every
                one.

        Returns:
            `Hits`; of a list, a list of these.

        Raises:
            UnknownNameError: for a column or a modality that the index does not have.
            ValueError: for an empty query, k above the number of rows, a condition that is not SQL, a model that has
                changed, and a query of a modality that shares no space with the vectors.
            OSError: for a file that cannot be read.
        """
        count, searched = self._checked(k), self.searched(modality)
        chosen = self._chosen(where, searched)
        several = isinstance(query, list)
        vectors = embedded(query if isinstance(query, list) else [query], self.model, self.about, searched)
        results = self._nearest(vectors, count, chosen)
        return results if several else results[0]

    def nearest(
        self,
        vectors: Float[np.ndarray, "m d"],
        k: int | None = None,
        *,
        where: str | None = None,
        modality: str | None = EVERY,
    ) -> list[Hits]:
        """Find the nearest vectors, of every modality unless given, to queries that are embedded already; see `search`.

        Fewer than k are found where fewer rows fulfil the condition.

        Raises:
            UnknownNameError: as for `search`.
            ValueError: as for `search`, and for vectors of another width, or without a direction.
        """
        count = self._checked(k)
        return self._nearest(np.asarray(vectors), count, self._chosen(where, self.searched(modality)))

    def searched(self, modality: str | None) -> tuple[str, ...]:
        """Return the modalities that a search looks through.

        Args:
            modality: as `search` takes it.

        Raises:
            UnknownNameError: for one that the index does not have.
        """
        if modality is None:
            return tuple(self._modalities[:1])
        if modality == EVERY:
            return tuple(self._modalities)
        if modality not in self._modalities:
            raise unknown("modality of the index", modality, [*self._modalities, EVERY])
        return (modality,)

    def _nearest(self, vectors: np.ndarray, k: int, chosen: RowSelection | None) -> list[Hits]:
        if vectors.ndim != 2 or vectors.shape[1] != self.about.width:
            raise ValueError(
                f"queries must be (m, {self.about.width}) as the vectors are, got {vectors.shape}"
            )
        if not len(vectors):
            return []
        lengths = np.sqrt(np.einsum("md,md->m", vectors, vectors, dtype=np.float64))
        if not 0 < lengths.min() <= lengths.max() < np.inf:
            raise ValueError("a query has no direction: its vector is zero, NaN or infinite")
        units = (vectors / lengths[:, None]).astype(np.float32)
        found = SearchResult(self.table, *self._vectors.nearest(units, k, chosen))
        return [Hits(found, query) for query in range(len(vectors))]

    def _checked(self, k: int | None) -> int:
        """Return how many rows are looked for."""
        if k is None:
            return min(_USUAL, len(self))
        if isinstance(k, bool) or k < 1:
            raise ValueError(f"k must be a whole number of at least 1, got {k!r}")
        if k > len(self):
            raise ValueError(
                f"k is {k:,}, and the index has {counted(len(self), 'row')}: ask for at most so many"
            )
        return k

    def _chosen(self, where: str | None, searched: tuple[str, ...]) -> RowSelection | None:
        parts, modality = [], None
        if len(searched) < len(self._modalities):
            (modality,) = searched
            parts.append(f"\"modality\" = '{modality.replace(chr(39), chr(39) * 2)}'")
        if where is not None:
            parts.append(f"({_condition.condition(where, self._columns)})")
        if not parts:
            return None
        whole = " AND ".join(parts)
        return RowSelection(
            whole, lambda: _condition.rows(whole, self._columns), modality, every=where is None
        )

    @cached_property
    def _columns(self) -> pl.DataFrame:
        """The columns that a condition may be on: those that every kind of index has."""
        return self.table.drop(PLACED, strict=False)

    @cached_property
    def _modalities(self) -> list[str]:
        return self.table["modality"].unique(maintain_order=True).to_list()

    def add(self, vectors: str | Path | Vectors) -> None:
        """Add vectors of the same model; a part that is in the index already is not added again.

        A map is drawn anew. The index on disk is the old one until the new one is whole.

        Raises:
            ValueError: for vectors of another model, naming both fingerprints, or of another width; for rows whose ids
                are in the index already; and if another process has changed the index since it was opened.
            InUseError: while another process writes the index.
            DamagedFileError: for a part of the vectors that is not whole.
            OSError: the index cannot be written.
        """
        self._extend(_opened(vectors), self.map)

    def _extend(self, vectors: Vectors, way: Way | None) -> None:
        about = vectors.about
        if about.fingerprint != self.about.fingerprint:
            raise ValueError(
                f"{vectors.folder} was made by another model than the index: {about.model or 'a model'} of fingerprint "
                f"{about.fingerprint}, not {self.about.model or 'a model'} of fingerprint {self.about.fingerprint}"
            )
        self._become(*extended(self._record, self.table, self._vectors, self.storage, vectors, way))

    def _become(self, record: IndexManifest, table: pl.DataFrame, vectors: IndexBackend) -> None:
        for name in ("_columns", "_modalities"):
            self.__dict__.pop(name, None)
        self._record, self.table, self._vectors = record, table, vectors


def index(
    vectors: str | Path | Vectors,
    out: str | Path | None = None,
    *,
    kind: str | None = None,
    map: Way | None = None,
) -> Index:
    """Make an index of vectors, or add them to one.

    >>> import tempfile
    >>> import counterpoint as cp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     vectors = cp.embed("transformers:all-MiniLM-L6-v2@package", "emoji", f"{folder}/vectors", limit=50)
    ...     found = cp.index(vectors).search("a happy face", k=2, where="split = 'train'")
    >>> [row["text"] for row in found]
    ['smiling face', 'smiling face with smiling eyes']

    Args:
        vectors: a folder of vectors, by its path or open.
        out: the folder to keep it in; with ``kind="lancedb"`` it may be an address (``s3://…``). The index stays in
            memory unless given. Where an index is there already, the parts that it does not have are added.
        kind: ``exact``, ``hnsw``, ``ivf`` or ``lancedb``; that of the index that is there, else exact up to two million
            vectors, and ``hnsw`` above.
        map: also find two coordinates for every vector, by ``pca`` or ``tsne`` (of at most 20,000 rows).

    Raises:
        UnknownNameError: for a kind that is not known.
        FileNotFoundError: if there are no vectors.
        DamagedFileError: for vectors, or an index, that are not whole.
        MissingPackageError: without the package of the kind.
        ValueError: for a place that holds something else, an index of another kind, and as for `Index.add`.
        OSError: the index cannot be written.
    """
    if kind is not None:
        INDEX_KINDS.reference(kind)
    if out is not None and is_address(out):
        kind = kind or "lancedb"
        if not INDEX_KINDS.get(kind).database:
            raise ValueError(
                f"an index of kind {kind} is kept in a folder, not at {out}; give --kind lancedb"
            )
    opened, storage = _opened(vectors), None if out is None else storage_of(out)
    if storage is not None and storage.record() is not None:
        there = Index.open(storage.where)
        if kind is not None and kind != there.kind:
            raise ValueError(
                f"{out} is an index of kind {there.kind}, not {kind}: give another folder, or delete it"
            )
        there._extend(opened, map or there.map)
        return there
    chosen = kind or ("exact" if len(opened) <= EXACT_UP_TO else "hnsw")
    record = IndexManifest(kind=chosen, about=opened.about, rows=0)
    return Index(*extended(record, pl.DataFrame(), None, storage, opened, map), storage)


def _opened(vectors: str | Path | Vectors) -> Vectors:
    return vectors if isinstance(vectors, Vectors) else Vectors.open(vectors)
