"""Held-out records, copied out of their shards: a shard for each side, with everything of them inside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...files import writing_folder
from ...modalities import MODALITIES, resolve
from ..reading.file_examples import FileExamples, ReadOptions
from ..sources import Asset, Record, ending_of
from .writing import ShardSample, write_shard

_SIDE = 64  # pixels that a picture is decoded to, to see that it can be


def copy_out(
    sides: Mapping[str, Iterable[tuple[str, Record]]],
    folder: Path,
    columns: Mapping[str, str],
    most_pixels: int,
) -> dict[str, int]:
    """Write records into a folder, and return how many each side has.

    A record with a file that cannot be read is left out: what is held out is used by every run, and lacks nothing.

    Args:
        sides: the records of each side, each with the name of its shard.
        folder: takes the place of what is there.
        columns: of the data, each with its modality.
        most_pixels: of a picture.
    """
    options = ReadOptions(_SIDE, hashed=False, most_pixels=most_pixels, traits=None)
    files: dict[str, FileExamples] = {
        column: resolve(MODALITIES.get(modality).storage).of([], modality, options)
        for column, modality in columns.items()
        if MODALITIES.get(modality).held == "files"
    }
    counts = dict.fromkeys(sides, 0)

    def samples(side: str) -> Iterator[ShardSample]:
        for shard, record in sides[side]:
            if (contents := _contents(record, files)) is not None:
                yield _sample(f"{side}-{counts[side]:06}", side, shard, record, columns, contents)
                counts[side] += 1

    with writing_folder(folder) as part:
        for side in sides:
            write_shard(part / f"{side}.tar", samples(side), "webdataset", {}, list(files), columns)
    return counts


def _contents(record: Record, files: Mapping[str, FileExamples]) -> dict[str, bytes] | None:
    """Return the bytes of a record's files by column; None where one of them cannot be read."""
    contents = {}
    for column, of_column in files.items():
        file = record.cells[column]
        assert isinstance(file, Asset)  # what lacks one is no record
        try:
            contents[column] = file.read_bytes()
            of_column.decode(contents[column])
        except (OSError, ValueError):
            return None
    return contents


def _sample(
    name: str,
    side: str,
    shard: str,
    record: Record,
    columns: Mapping[str, str],
    contents: Mapping[str, bytes],
) -> ShardSample:
    """Return a record as it is written."""
    cells = {column: record.cells[column] for column in columns if column not in contents}
    metadata: dict[str, Any] = {**record.labels, "id": f"{shard}/{record.key}", "split": side, **cells}
    if record.group is not None:
        metadata["group"] = record.group
    return ShardSample(
        name, {column: (ending_of(data), data) for column, data in contents.items()}, None, metadata, {}
    )
