"""Shards that are written from samples, WebDataset or Parquet: each is whole or not there."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, final

import polars as pl

from ...execution.folders import contents
from ...files import sweep, writing
from ...modalities import MODALITIES
from ..sources import noted

Form = Literal["webdataset", "parquet"]
SUFFIX: dict[Form, str] = {"webdataset": "tar", "parquet": "parquet"}
_GROUP = 256  # rows of a Parquet file that are read at once


@final
@dataclass(frozen=True)
class ShardSample:
    """One example as it is written.

    Attributes:
        name: of its files in a tar, without a suffix; no other sample has it.
        files: by column the ending of its file, and its bytes.
        text: what other readers take for the caption; none where there is none that they would take rightly.
        values: all else, as JSON has it.
        cells: all but the files, by the column of a Parquet file; one that is missing is null.
    """

    name: str
    files: Mapping[str, tuple[str, bytes]]
    text: str | None
    values: Mapping[str, Any]
    cells: Mapping[str, Any]


def reserve(folder: Path, manifest: str, what: str) -> bool:
    """Return whether a folder, which this process holds, was begun, by its manifest; refuse one with anything else.

    Raises:
        ValueError: if it is not empty and has no manifest; nothing in it is touched.
    """
    if (folder / manifest).exists():
        sweep(folder)
        return True
    if contents(folder):
        raise ValueError(f"{folder} is not empty, and holds no {what}: choose another folder with --out")
    return False


def write_shard(
    path: Path,
    samples: Iterable[ShardSample],
    form: Form,
    columns: Mapping[str, Any],
    files: Sequence[str] = ("image",),
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write a shard, which is there once it is whole; few of its files are in memory at a time.

    Args:
        path: of its file.
        samples: to be written.
        form: of the file.
        columns: of all Parquet shards beside those of files, each with its type of polars.
        files: the columns of files.
        metadata: the columns of the data, each with its modality, where readers would not know them.

    Raises:
        OSError: if it cannot be written; what is written before stays.
    """
    try:
        with writing(path) as part:
            if form == "webdataset":
                _write_tar(part, samples, metadata)
            else:
                kinds = dict.fromkeys(files, pl.Struct({"bytes": pl.Binary, "path": pl.String}))
                _write_parquet(part, samples, {**kinds, **columns}, metadata)
    except OSError as error:
        if error.errno is None or error.filename != str(path):  # of reading, and not of writing
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}; the shards before it are whole, and the same command goes on once there is room",
            str(path),
        ) from error


def _write_tar(path: Path, samples: Iterable[ShardSample], metadata: Mapping[str, str]) -> None:
    with tarfile.open(path, "w", pax_headers=noted(metadata) if metadata else None) as archive:
        for sample in samples:
            parts = {suffix_in_tar(column, kind): data for column, (kind, data) in sample.files.items()}
            if sample.text is not None:
                parts["txt"] = sample.text.encode()
            parts["json"] = json.dumps(sample.values, ensure_ascii=False).encode("utf-8", "surrogatepass")
            for suffix, content in parts.items():
                member = tarfile.TarInfo(f"{sample.name}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def _write_parquet(
    path: Path, samples: Iterable[ShardSample], schema: Mapping[str, Any], metadata: Mapping[str, str]
) -> None:
    from pyarrow import parquet

    left, arrow = iter(samples), pl.DataFrame(schema=schema).to_arrow().schema
    arrow = arrow.with_metadata(noted(metadata)) if metadata else arrow
    with parquet.ParquetWriter(path, arrow, compression="zstd") as file:
        while group := list(islice(left, _GROUP)):
            rows = [
                {
                    **{
                        column: {"bytes": data, "path": f"{each.name}.{kind}"}
                        for column, (kind, data) in each.files.items()
                    },
                    **each.cells,
                }
                for each in group
            ]
            file.write_table(pl.DataFrame(rows, schema=schema).to_arrow())


def suffix_in_tar(column: str, ending: str) -> str:
    """Return the suffix of a column's file in a tar: what other readers know, or the column's name in front of it.

    >>> suffix_in_tar("image", "png"), suffix_in_tar("wrist", "npy"), suffix_in_tar("video", "tiff")
    ('png', 'wrist.npy', 'video.tiff')
    """
    known = column in MODALITIES and f".{ending}" in MODALITIES.get(column).endings
    return ending if known else f"{column}.{ending}"
