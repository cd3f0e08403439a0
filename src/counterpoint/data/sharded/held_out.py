"""Held-out records, copied out of their shards: a table for each side, and their pictures beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ...files import writing_folder
from ..pictures.decode import decode, open_picture
from ..sources import Asset, Record

_SIDE = 64  # pixels that a picture is decoded to, to see that it can be


def copy_out(
    sides: Mapping[str, Iterable[tuple[str, Record]]], folder: Path, most_pixels: int
) -> dict[str, int]:
    """Write records into a folder, and return how many each side has.

    A record whose picture cannot be decoded is left out: what is held out is used by every run, and lacks nothing.

    Args:
        sides: the records of each side, each with the name of its shard.
        folder: takes the place of what is there.
        most_pixels: of a picture.
    """
    counts = dict.fromkeys(sides, 0)
    with writing_folder(folder) as part:
        (part / "pictures").mkdir()
        for side, records in sides.items():
            with (part / f"{side}.jsonl").open("w", encoding="utf-8") as table:
                for shard, record in records:
                    name = f"pictures/{side}-{counts[side]:06}"
                    if (values := _copied(record, part, name, most_pixels)) is not None:
                        values["id"] = f"{shard}/{record.key}"
                        table.write(json.dumps(values) + "\n")
                        counts[side] += 1
    return counts


def _copied(record: Record, folder: Path, name: str, most_pixels: int) -> dict[str, Any] | None:
    """Copy the picture of a record into a folder, and return its row of a table; None where it cannot be decoded."""
    picture, texts = record.cells.get("image"), record.cells.get("text")
    if not isinstance(picture, Asset):
        return None
    try:
        content = picture.read_bytes()
        decode(content, _SIDE, most_pixels)
        with open_picture(content, _SIDE, most_pixels) as opened:
            kind = (
                PurePosixPath(picture.member or picture.file).suffix or f".{(opened.format or 'png').lower()}"
            )
    except (OSError, ValueError):  # no picture
        return None
    (folder / f"{name}{kind}").write_bytes(content)
    values = {**record.labels, "file_name": f"{name}{kind}", "group": record.group, "text": texts}
    return {column: value for column, value in values.items() if value is not None}
