"""Pairs in WebDataset shards: tar files in which the files of one example share a name."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._record import CAPTION_COLUMNS, PICTURES, SPLITS, Record


@dataclass(frozen=True)
class Member:
    """A file within a tar file."""

    archive: Path
    name: str
    offset: int
    size: int

    def read_bytes(self) -> bytes:
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def __str__(self) -> str:
        return f"{self.archive}:{self.name}"


def read(archives: Sequence[Path]) -> Iterable[Record]:
    """The examples of some shards.

    An example is a picture (``.jpg``, ``.png`` …) and, under the same name, its captions: a ``.txt`` with one a line,
    or a ``.json`` with ``text`` or ``caption``. The JSON may also hold ``split`` and ``id``; its other texts are
    ways to classify. Without a ``split``, a shard whose name starts with one (``train-000.tar``) is of that split.

    Raises:
        ValueError: if a shard is damaged, or an example has a picture and no caption.
    """
    identities: dict[int, str] = {}
    number = 0
    for archive in archives:
        for key, files in _examples(archive):
            picture = next((file for suffix, file in files.items() if f".{suffix}" in PICTURES), None)
            if picture is None:
                continue
            values = _values(files.get("json"))
            captions = _captions(files.get("txt"), values)
            if not captions:
                raise ValueError(
                    f"{archive}: {key} has no caption; add a {key}.txt or a {key}.json with a text"
                )
            identity = values["id"] if isinstance(values.get("id"), int) else number
            if identity in identities:
                raise ValueError(f"{archive}: {key} has the id {identity} of {identities[identity]}")
            identities[identity] = f"{archive.name}: {key}"
            number += 1
            own = {"split", "id", *CAPTION_COLUMNS}
            labels = {k: v for k, v in values.items() if k not in own and isinstance(v, str)}
            yield Record(identity, picture, captions, _split(archive, values), labels)


def _examples(archive: Path) -> Iterator[tuple[str, dict[str, Member]]]:
    """The files of each example by their suffix, in the order of the archive."""
    found: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(archive, "r:") as opened:  # members of a compressed one have no place
            for member in opened:
                if member.isfile():
                    folder, _, name = member.name.rpartition("/")
                    stem, _, suffix = name.partition(".")
                    key = f"{folder}/{stem}" if folder else stem
                    file = Member(archive, member.name, member.offset_data, member.size)
                    found.setdefault(key, {})[suffix.lower()] = file
    except tarfile.TarError as error:
        raise ValueError(f"{archive} cannot be read as a tar file: {error}") from error
    yield from found.items()


def _values(file: Member | None) -> Mapping[str, Any]:
    if file is None:
        return {}
    try:
        values = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}") from error
    return values if isinstance(values, dict) else {}


def _captions(text: Member | None, values: Mapping[str, Any]) -> tuple[str, ...]:
    lines: list[Any] = text.read_bytes().decode().splitlines() if text else []
    for name in CAPTION_COLUMNS:
        if not lines and values.get(name):
            lines = values[name] if isinstance(values[name], list) else [values[name]]
    return tuple(line for line in (str(each).strip() for each in lines) if line)


def _split(archive: Path, values: Mapping[str, Any]) -> str | None:
    if "split" in values:
        said = str(values["split"]).lower()
        if said not in SPLITS:
            raise ValueError(f"{archive}: split {said!r} is none of train, validation, test")
        return SPLITS[said]
    return next((side for name, side in SPLITS.items() if archive.name.lower().startswith(name)), None)
