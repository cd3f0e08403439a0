"""The storage of an index's record and table: files of a folder, or tables of a database at an address."""

from __future__ import annotations

import json
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Literal, final

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict

from ...execution import leased
from ...execution.folders import contents
from ...files import (
    FORMAT,
    DamagedFileError,
    digest_of_file,
    formed,
    read_json,
    read_table,
    write_json,
    write_table,
)
from ..vectors import VectorProvenance
from .kinds._kind import next_file
from .kinds.lancedb import connected, opened, put

RECORD = "index.json"


def _inside(name: str) -> str:
    """Refuse the name of a file that is not right in the index's own folder."""
    if Path(name).name != name:
        raise ValueError(f"must be the name of a file in the folder of the index, got {name!r}")
    return name


FileName = Annotated[str, AfterValidator(_inside)]
"""Name of a file in the folder of an index."""


class IndexedChunk(BaseModel):
    """A part of vectors that an index holds.

    Attributes:
        folder: of the vectors.
        part: its file's name.
        digest: of its bytes.
        data: the data that its rows are of.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    folder: str
    part: str
    digest: str
    data: str


class StoredFile(BaseModel):
    """A file of an index.

    Attributes:
        bytes: how many it has.
        digest: of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    bytes: int
    digest: str


class IndexManifest(BaseModel):
    """All that an index is beside its vectors and its table; written last, so that it is of what is there.

    Attributes:
        kind: of the index.
        about: the origin of its vectors; of several folders, of the first.
        rows: the number of vectors.
        map: the way in which coordinates were found; None without.
        table: the table's file.
        digest: of the table's bytes.
        files: those of the vectors.
        parts: of vectors, in order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = FORMAT
    kind: str
    about: VectorProvenance
    rows: int
    map: Literal["pca", "tsne"] | None = None
    table: FileName = ""
    digest: str = ""
    files: dict[FileName, StoredFile] = {}
    parts: tuple[IndexedChunk, ...] = ()

    def remedy(self, where: str) -> str:
        """Say how to make the index at an address or in a folder again."""
        options = ["--kind", self.kind, *(["--map", self.map] if self.map else [])]
        folders = dict.fromkeys(taken.folder for taken in self.parts)
        commands = [
            shlex.join(["counterpoint", "index", folder, "--out", where, *options]) for folder in folders
        ]
        return f"delete it, and make it again: {' && '.join(commands)}"


class Storage(ABC):
    """The storage of an index.

    Attributes:
        where: as the user wrote it, absolute for a folder.
    """

    where: str

    @abstractmethod
    def held(self) -> AbstractContextManager[None]:
        """Keep others from writing the index in a block.

        Raises:
            InUseError: if another process writes it.
            OSError: if it cannot be written.
        """

    @abstractmethod
    def record(self) -> IndexManifest | None:
        """Return what the index is; None where there is none.

        Raises:
            DamagedFileError: for a record that cannot be read.
            ValueError: for a place that holds something else.
        """

    @abstractmethod
    def table(self, record: IndexManifest) -> pl.DataFrame:
        """Return what is known of every vector.

        Raises:
            DamagedFileError: for a table that is not the record's.
        """

    @abstractmethod
    def files(self, record: IndexManifest) -> list[Path]:
        """Return the files of the vectors.

        Raises:
            DamagedFileError: for one that is missing or has another content.
        """

    @abstractmethod
    def write(self, record: IndexManifest, table: pl.DataFrame, files: Sequence[Path]) -> IndexManifest:
        """Write a table and then the record, and remove what is no part of the index any more."""


@final
class LocalStorage(Storage):
    """A folder of this machine."""

    def __init__(self, where: str) -> None:
        self.path = Path(where)
        self.where = str(self.path.absolute())

    @contextmanager
    def held(self) -> Iterator[None]:
        with leased(self.path):
            # The files of a command that was killed have the names that those of this one are to have.
            self._remove_others(self.record())
            yield

    def record(self) -> IndexManifest | None:
        if not (self.path / RECORD).exists():
            if not all(map(_ours, contents(self.path))):
                raise ValueError(
                    f"{self.path} is no index: it has no {RECORD}; make one with counterpoint index VECTORS --out "
                    "FOLDER, in a folder of its own"
                )
            return None
        again = f"delete {self.path}, and make it again: counterpoint index VECTORS --out {self.path}"
        return read_json(self.path / RECORD, IndexManifest, again)

    def table(self, record: IndexManifest) -> pl.DataFrame:
        path, remedy = self.path / record.table, record.remedy(self.where)
        if path.is_file() and digest_of_file(path) != record.digest:
            raise DamagedFileError(path, "its content is not what was written", remedy)
        return read_table(path, {"id": pl.Int64, "modality": pl.String}, remedy)

    def files(self, record: IndexManifest) -> list[Path]:
        for name, stored in record.files.items():
            path = self.path / name
            actual = path.stat().st_size if path.is_file() else None
            if actual != stored.bytes:
                wrong = "it is missing" if actual is None else f"it has {actual:,} of {stored.bytes:,} bytes"
                raise DamagedFileError(path, wrong, record.remedy(self.where))
            if digest_of_file(path) != stored.digest:
                raise DamagedFileError(path, "its content is not what was written", record.remedy(self.where))
        return [self.path / name for name in record.files]

    def write(self, record: IndexManifest, table: pl.DataFrame, files: Sequence[Path]) -> IndexManifest:
        path = next_file(self.path, "table.parquet")
        write_table(path, table)
        stored = {
            file.name: StoredFile(bytes=file.stat().st_size, digest=digest_of_file(file)) for file in files
        }
        written = record.model_copy(
            update={"table": path.name, "digest": digest_of_file(path), "files": stored}
        )
        write_json(self.path / RECORD, written.model_dump(mode="json"))
        self._remove_others(written)
        return written

    def _remove_others(self, record: IndexManifest | None) -> None:
        """Remove files that are not part of the index of a record."""
        names = {RECORD} if record is None else {RECORD, record.table, *record.files}
        for other in self.path.iterdir():
            if other.is_file() and _ours(other) and other.name not in names:
                other.unlink()


@final
class Database(Storage):
    """A database of LanceDB at an address: two tables beside that of the vectors."""

    _TABLE, _RECORD = "vectors_rows", "vectors_index"

    def __init__(self, where: str) -> None:
        self.where = where
        self._connection = connected(where)

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()  # stores of objects know no leases

    def record(self) -> IndexManifest | None:
        table = opened(self._connection, self._RECORD)
        if table is None:
            return None
        written = json.loads(table.to_arrow()["json"][0].as_py())
        again = f"delete it, and make it again: counterpoint index VECTORS --kind lancedb --out {self.where}"
        return formed(Path(self.where), written, IndexManifest, again)

    def table(self, record: IndexManifest) -> pl.DataFrame:
        stored = opened(self._connection, self._TABLE)
        if stored is None:
            raise self._damaged(f"its table {self._TABLE} is missing", record)
        table = pl.from_arrow(stored.to_arrow())
        assert isinstance(table, pl.DataFrame)
        if len(table) < record.rows:
            raise self._damaged(f"it has {len(table):,} of {record.rows:,} rows", record)
        return table[: record.rows]

    def _damaged(self, reason: str, record: IndexManifest) -> ValueError:
        """Return the error of a database in the words of `DamagedFileError`: a path would lose a slash."""
        return ValueError(f"{self.where} is damaged ({reason}): {record.remedy(self.where)}")

    def files(self, record: IndexManifest) -> list[Path]:
        return []

    def write(self, record: IndexManifest, table: pl.DataFrame, files: Sequence[Path]) -> IndexManifest:
        plain = table.to_arrow(compat_level=pl.CompatLevel.oldest())
        put(self._connection, self._TABLE, plain)
        encoded = pl.DataFrame({"json": [record.model_dump_json()]}).to_arrow(
            compat_level=pl.CompatLevel.oldest()
        )
        put(self._connection, self._RECORD, encoded)
        return record


def storage_of(where: str | Path) -> Storage:
    """Return a folder, or the database at an address."""
    return Database(str(where)) if is_address(where) else LocalStorage(str(where))


def is_address(where: str | Path) -> bool:
    """Return whether a location is written as an address: ``s3://…``, ``file://…``."""
    return "://" in str(where)


def _ours(path: Path) -> bool:
    """Return whether a file or a folder is one that an index consists of."""
    stem, _, number = path.stem.rpartition("-")
    numbered = number.isdigit() and stem in ("vectors", "table", "hnsw", "ivf")
    return numbered or path.name in (RECORD, "vectors.lance")
