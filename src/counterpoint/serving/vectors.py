"""Vectors on disk: a folder of Parquet files that say what made them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, final
from urllib.parse import quote

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float
from pyarrow import parquet
from pydantic import BaseModel, ConfigDict, TypeAdapter

from ..files import FORMAT, DamagedFileError, formed, writing

_REQUIRED = ("id", "key", "modality", "vector")
RESERVED = ("id", "key", "modality", "vector", "split", "text", "score", "x", "y")
"""Columns of vectors, of a search's results and of a map; what the data calls so is here ``label_NAME``."""

_ABOUT = b"counterpoint"
_KINDS: dict[Any, pa.DataType] = {pl.Int64: pa.int64(), pl.Float64: pa.float64()}
"""Types of columns that are no texts."""
_PART = re.compile(r"(?P<modality>.+)-(?P<number>\d{5,})-of-(?P<count>\d{5,})\.parquet")


class VectorProvenance(BaseModel):
    """Origin of some vectors, kept in every part of them.

    Attributes:
        model: the reference of the model that made them; empty for one that was never loaded by a name.
        fingerprint: the model's.
        data: the name or the path of what was embedded; paths, here and in ``model``, from the root.
        data_fingerprint: a digest of its rows, as far as they are embedded or shown; see `Data.identity`.
        modalities: the columns that were embedded, in this order.
        limit: the number of rows that were asked for; None for all.
        width: of a vector.
        dtype: of its numbers.
        precision: of the products that they were computed with, as recipes name it.
        shares_space: vectors of one modality can be compared with those of another.
        attribution: the licence line that stands wherever examples are shown; empty if there is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = FORMAT
    model: str
    fingerprint: str
    data: str
    data_fingerprint: str
    modalities: tuple[str, ...]
    limit: int | None = None
    width: int
    dtype: Literal["float32", "float16"] = "float32"
    precision: Literal["32", "bf16-mixed"] = "32"
    shares_space: bool = False
    attribution: str = ""

    def remedy(self, folder: Path) -> str:
        """Say how to make what is missing in a folder."""
        if not self.model:
            return "embed the same data with the same model into this folder again, with counterpoint.embed"
        options = ["--modality", *self.modalities]
        options += ["--dtype", self.dtype] if self.dtype != "float32" else []
        options += ["--precision", self.precision] if self.precision != "32" else []
        options += ["--limit", str(self.limit)] if self.limit is not None else []
        return "make it again: " + shlex.join(
            ["counterpoint", "embed", self.model, self.data, *options, "--out", str(folder)]
        )


@final
@dataclass(frozen=True)
class Vectors:
    """Embeddings of the rows of some data, in a folder of Parquet files of which every one is whole.

    The files are called ``MODALITY-00003-of-00010.parquet``, and their columns are ``id`` (int64), ``key``,
    ``modality``, ``vector`` (a list of fixed size, of float32 or float16), ``split`` (train, validation, test; null
    for a row of none), ``text`` (the row's, or its first caption), one for every label (of numbers float64, of other
    kinds texts) and one, of texts, for everything else that the data says of its rows (`Data.metadata`). Rows are in
    the order of the data, modality by modality. The metadata ``counterpoint`` of each is its `VectorProvenance` as
    JSON.

    Attributes:
        folder: where they are.
        about: their origin.
        parts: the files, in order.
        counts: the number of vectors in each.
    """

    folder: Path
    about: VectorProvenance
    parts: tuple[Path, ...]
    counts: tuple[int, ...]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a folder; no vector is read yet.

        Raises:
            FileNotFoundError: if there is no such folder, or no part in it.
            DamagedFileError: for a part that is missing or cannot be read; the message is the command that makes it
                again.
            ValueError: for parts of several models, data sets or widths.
        """
        folder = Path(folder)
        files = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
        if not files:
            missing = "holds no vectors" if folder.is_dir() else "is no folder"
            raise FileNotFoundError(
                f"{folder} {missing}: make some with counterpoint embed MODEL DATA --out {folder}"
            )
        about, parts = about_of(files[0]), []
        for path in files[1:]:
            agree(folder, about, path)
        for modality in about.modalities:
            paths = [path for path in files if _named(path)["modality"] == quote(modality, safe="")]
            totals = {int(_named(path)["count"]) for path in paths}
            if len(totals) > 1:
                raise ValueError(
                    f"{folder} holds {modality} vectors of several commands ({', '.join(map(str, sorted(totals)))} "
                    f"parts): delete it, and {about.remedy(folder)}"
                )
            for path in part_paths(folder, modality, totals.pop() if totals else 1):
                if path not in paths:
                    raise DamagedFileError(path, "it is missing", about.remedy(folder))
                parts.append(path)
        return cls(folder, about, tuple(parts), tuple(_opened(path).metadata.num_rows for path in parts))

    def __len__(self) -> int:
        return sum(self.counts)

    def table(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return what is known of every vector, in their order, without the vectors.

        Args:
            columns: some of them; all unless given.

        Raises:
            DamagedFileError: for a part that cannot be read.
        """
        return pl.concat([self._plain(path, columns) for path in self.parts], how="diagonal_relaxed")

    def read(self, part: Path) -> tuple[Float[np.ndarray, "n d"], pl.DataFrame]:
        """Return the vectors of a part, and what is known of each.

        Raises:
            DamagedFileError: for a part that cannot be read, or that holds other numbers than vectors of this width.
        """
        remedy, width = self.about.remedy(self.folder), self.about.width
        column = _column(part, ["vector"], remedy)["vector"].combine_chunks()
        if column.type != _vector(self.about) or column.null_count:
            raise DamagedFileError(
                part, f"its vectors are {column.type}, not {width} numbers of {self.about.dtype}", remedy
            )
        vectors: np.ndarray = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        broken = ~np.isfinite(vectors).all(axis=1)
        if broken.any():
            raise DamagedFileError(part, f"{int(broken.sum()):,} of its vectors are NaN or infinite", remedy)
        return vectors, self._plain(part, None)

    def _plain(self, part: Path, columns: Sequence[str] | None) -> pl.DataFrame:
        remedy = self.about.remedy(self.folder)
        names = [name for name in _opened(part).schema_arrow.names if name != "vector"]
        chosen = names if columns is None else [name for name in columns if name in names]
        frame = pl.from_arrow(_column(part, chosen, remedy))
        assert isinstance(frame, pl.DataFrame)
        return frame


def part_paths(folder: Path, modality: str, count: int) -> list[Path]:
    """Return the files of a modality's parts.

    >>> [path.name for path in part_paths(Path(), "image", 2)]
    ['image-00000-of-00002.parquet', 'image-00001-of-00002.parquet']
    """
    name = quote(modality, safe="")
    return [folder / f"{name}-{number:05}-of-{count:05}.parquet" for number in range(count)]


def write_part(
    path: Path, about: VectorProvenance, vectors: Float[np.ndarray, "n d"], table: pl.DataFrame
) -> None:
    """Write a part, whole or not at all, with checksums of its pages.

    Args:
        path: one of `part_paths`.
        about: the origin of the vectors.
        vectors: of ``about.width`` numbers each.
        table: ``id``, ``key``, ``modality``, ``split``, ``text`` and further columns, a row per vector.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    kinds = pa.schema([(name, _KINDS.get(kind, pa.string())) for name, kind in table.schema.items()])
    columns = table.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(kinds)
    numbers = pa.array(np.ascontiguousarray(vectors, dtype=about.dtype).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(numbers, type=_vector(about))
    whole = columns.add_column(3, pa.field("vector", _vector(about)), column)
    described = whole.replace_schema_metadata({_ABOUT: about.model_dump_json()})
    with writing(path) as part:
        parquet.write_table(
            described,
            part,
            compression=dict.fromkeys(table.columns, "zstd"),  # vectors do not get smaller
            use_dictionary=[*table.columns],
            write_page_checksum=True,
        )


def about_of(part: Path) -> VectorProvenance:
    """Return the origin of a part.

    Raises:
        DamagedFileError: if it cannot be read, or no vectors are in it.
    """
    schema = _opened(part).schema_arrow
    metadata = (schema.metadata or {}).get(_ABOUT)
    if metadata is None or not _PART.fullmatch(part.name):
        raise DamagedFileError(part, "it is no part that counterpoint embed wrote", "move it elsewhere")
    remedy = "delete it, and embed again"
    for name in _REQUIRED:
        if name not in schema.names:
            raise DamagedFileError(part, f"it has no column {name!r}", remedy)
    return formed(part, _plain_json(metadata), VectorProvenance, remedy)


def agree(folder: Path, about: VectorProvenance, part: Path) -> None:
    """Check that a part has the same origin as what else is, or will be, in a folder.

    Raises:
        ValueError: naming what differs; of another model both fingerprints.
    """
    other = about_of(part)
    if other.fingerprint != about.fingerprint:
        raise ValueError(
            f"{part} was made by another model: {other.model or 'a model'} of fingerprint {other.fingerprint}, not "
            f"{about.model or 'a model'} of fingerprint {about.fingerprint}; give another folder, or delete {folder}"
        )
    if other.data_fingerprint != about.data_fingerprint:  # the same data may have been moved
        raise ValueError(
            f"{part} was made of other data: {other.data} of fingerprint {other.data_fingerprint}, not {about.data} "
            f"of fingerprint {about.data_fingerprint}; give another folder, or delete {folder}"
        )
    mine, others = about.model_dump(), other.model_dump()
    for name in ("width", "dtype", "precision", "modalities", "limit"):
        if mine[name] != others[name]:
            raise ValueError(
                f"{part} was made with {name} {_text(others[name])}, not {_text(mine[name])}; give another folder, or "
                f"delete {folder}"
            )


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _named(part: Path) -> re.Match[str]:
    named = _PART.fullmatch(part.name)
    assert named is not None  # `about_of` has looked at it
    return named


def _vector(about: VectorProvenance) -> pa.DataType:
    return pa.list_(pa.float16() if about.dtype == "float16" else pa.float32(), about.width)


def _plain_json(content: bytes) -> Any:
    return TypeAdapter(dict[str, Any]).validate_json(content)


def _opened(part: Path) -> parquet.ParquetFile:
    try:
        return parquet.ParquetFile(part, page_checksum_verification=True)
    except FileNotFoundError:
        raise DamagedFileError(part, "it is missing", "embed again") from None
    except (OSError, pa.ArrowException) as error:
        raise DamagedFileError(part, _first_line(error), "delete it and embed again") from None


def _column(part: Path, names: Sequence[str], remedy: str) -> pa.Table:
    try:
        return _opened(part).read(list(names))
    except (OSError, pa.ArrowException) as error:
        raise DamagedFileError(part, _first_line(error), remedy) from None


def _first_line(error: Exception) -> str:
    return f"it is no whole Parquet file: {str(error).splitlines()[0]}"
