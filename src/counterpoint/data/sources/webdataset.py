"""Examples in WebDataset shards: tar files in which the files of one example share a name."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, final

from ...modalities import MODALITIES, PAIR
from ...registry import unknown
from ._files.asset import Asset
from ._files.locations import files_of, inside, is_url, opened, readable, short_names, suffix_of
from ._files.noted import columns_noted
from ._files.text import caption_lines, decoded
from ._ledger import Ledger
from ._names import CAPTION_COLUMNS, split_of
from ._options import FACTS, SourceOptions, said_columns
from ._record import Cell, Record, Records
from ._source import Shard, Source
from ._values import Identities, caption_names, captions_in, facts_in

_PICTURE = next(iter(PAIR))
DAMAGED = "shard cut short or damaged"
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
_SHARD = re.compile(r"\.(tgz|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)  # refused by what it holds
_MAGIC = max(map(len, _COMPRESSED))
_OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")
_END = 512  # bytes of zeros after the last file


@final
class WebDataset(Source):
    """Shards: tar files in which the files of one example share a name."""

    suffixes = frozenset({".tar"})

    precedence = 3
    takes = frozenset({"columns"})

    def recognises(self, written: str) -> bool:
        if os.path.isdir(written):  # whatever it is called
            return bool(_in_folder(written))
        return bool(_in_folder(written) or _SHARD.search(written)) or suffix_of(written) in self.suffixes

    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        files = files_of(*(_in_folder(written) or [written]))
        parts = _parts(files)
        return [
            Shard(name, file, "webdataset", files[file], options, parts[file])
            for file, name in zip(files, short_names(files), strict=True)
        ]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read the examples of a shard.

        An example is a picture (``.jpg``, ``.png`` …), a sound (``.flac``, ``.wav`` …), a series (``.npy``), or several
        of these, and, under the same name, its captions: a ``.txt`` with one a line, or a ``.json`` with ``text`` or
        ``caption``. The JSON may also hold ``split``, ``id`` and ``group``; its other texts and numbers are ways to
        classify. A shard without any captions is of files alone. One that notes its columns, as those that are written
        here do, has these: files that bear a column's name (``7.wrist.npy``), texts and values in the JSON. Without a
        ``split``, a shard whose name starts with one (``train-000.tar``) is of that split.

        Where ``columns=`` names columns of files, these are read, with the captions; else files of all modalities but
        arrays beside pictures, which may be anything. Of the columns that a shard notes those that are named are read.

        Raises:
            ValueError: if it is no tar file, or a split is unknown.
            UnknownNameError: for a column that the shard cannot have; the message gives the nearest.
        """
        return _Reader(shard.location, shard.options.columns, ledger).read()


def _in_folder(written: str) -> list[str]:
    """Return the shards right in a folder; none of what is no folder."""
    if is_url(written):
        return [file for file in inside(written) if suffix_of(file) == ".tar"]
    return sorted(map(str, Path(written).glob("*.tar"))) if os.path.isdir(written) else []


def _parts(files: Iterable[str]) -> dict[str, str]:
    """Return the part that each file is of: its folder, as data sets that lie in several may count their keys alike."""
    folder_of = {file: file.replace(os.sep, "/").rpartition("/")[0] for file in files}
    folders = sorted({*folder_of.values()})
    names = dict(zip(folders, short_names(folders), strict=True)) if len(folders) > 1 else {}
    return {file: names.get(folder, "") for file, folder in folder_of.items()}


@dataclass
class _Example:
    """The files of one name: assets by modality or column, the texts of captions, and suffixes that are not read."""

    files: dict[str, Asset] = field(default_factory=dict)
    text: bytes | None = None
    values: bytes | None = None
    others: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Return whether there is a file with something that may hold its caption."""
        return bool(self.files) and (self.text is not None or self.values is not None)


def _examples(archive: str, ledger: Ledger) -> tuple[dict[str, str], dict[str, _Example]]:
    """Return the columns that a shard notes, and the files of each example; what is cut off goes into the ledger."""
    with opened(archive) as file:
        if file.read(_MAGIC).startswith(_COMPRESSED):
            raise ValueError(
                f"{archive} is compressed, and what is in it cannot be read one by one: write the tar file itself, "
                f"for example: gunzip {archive}"
            )
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        return _members(archive, file, end, ledger)


def _members(archive: str, file: Any, end: int, ledger: Ledger) -> tuple[dict[str, str], dict[str, _Example]]:
    examples: dict[str, _Example] = {}
    columns: dict[str, str] = {}
    kinds = {ending: modality.name for modality in MODALITIES for ending in modality.endings}
    try:
        with tarfile.open(fileobj=file, mode="r:") as members:  # members of a compressed one have no place
            columns = columns_noted(members.pax_headers)
            for member in members:
                member_name = readable(member.name)
                folder, _, name = member_name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                column = suffix.rpartition(".")[0]
                suffix = suffix.lower()
                if member.isdir():
                    continue
                if _OUTSIDE.search(member.name):
                    ledger.add("passed over", "name that leads out of the shard", archive, member.name)
                    continue
                if not member.isfile():
                    ledger.add("passed over", "link or device in a shard", archive, member.name)
                    continue
                if member.offset_data + member.size > end:
                    examples.pop(key, None)
                    ledger.add("lost", DAMAGED, archive, member.name, "all that followed is lost too")
                    return columns, examples
                example = examples.setdefault(key, _Example())
                named = column if column in columns else kinds.get(f".{suffix}")
                if named is not None and named not in example.files:
                    example.files[named] = Asset(archive, member_name, member.offset_data, member.size)
                elif suffix in {"txt", "caption", "json"}:
                    stored = members.extractfile(member)
                    content = stored.read() if stored else b""
                    if suffix == "json":
                        example.values = content
                    else:
                        example.text = content
                else:
                    example.others.append(suffix)
            file.seek(members.offset)
            rest, offset = file.read(_END), members.offset
    except tarfile.TarError as error:
        if not examples:
            raise ValueError(f"{archive} cannot be read as a tar file: {error}") from error
        ledger.add("lost", DAMAGED, archive, "", f"{error}; all that followed is lost too")
        return columns, examples
    if not rest:
        last = next(reversed(examples), "")
        if last and not examples[last].whole:
            examples.pop(last)
            ledger.add("lost", DAMAGED, archive, last, "all that followed is lost too")
        else:
            ledger.add("passed over", "shard without an end mark", archive, "", "it may be cut short")
    elif len(rest) < _END or any(rest):  # the tar reader stops here without a word
        ledger.add("lost", DAMAGED, archive, "", f"at byte {offset:,}; all that followed is lost too")
    return columns, examples


class _Reader:
    """Reader of the examples of one shard.

    Args:
        archive: the shard.
        user_columns: that the user named, by what they are for.
        ledger: is told what is left out.
    """

    def __init__(self, archive: str, user_columns: Mapping[str, str], ledger: Ledger) -> None:
        self._archive, self._user_columns, self._ledger = archive, user_columns, ledger
        self._ids = Identities()

    def read(self) -> Records:
        """Read the examples; see `WebDataset.open`."""
        noted, examples = _examples(self._archive, self._ledger)
        columns = self._user_columns.items()
        named = {role: said_columns(role, name) for role, name in columns if role not in FACTS}
        return self._of_noted(examples, noted, named) if noted else self._of_kinds(examples, named)

    def _of_noted(
        self, examples: Mapping[str, _Example], noted: Mapping[str, str], named: Mapping[str, Sequence[str]]
    ) -> Records:
        """Read examples of a shard that notes its columns, each with its modality."""
        made = named or {column: (column,) for column in noted}
        for role, names in made.items():
            suit = [name for name, modality in noted.items() if modality == role or role not in MODALITIES]
            if other := [name for name in names if name not in suit]:
                kind = f"{role} column" if role in MODALITIES else "column"
                raise unknown(f"{kind} of {self._archive}", other[0], suit or noted)
        read = [record for key, it in examples.items() if (record := self._noted(key, it, noted, made))]
        return Records.collect(read, {role: noted[names[0]] for role, names in made.items()}, gaps=True)

    def _of_kinds(self, examples: Mapping[str, _Example], named: Mapping[str, Sequence[str]]) -> Records:
        """Read examples of any other shard, whose files are of columns by their endings."""
        there = [
            it.name for it in MODALITIES if any(it.name in example.files for example in examples.values())
        ]
        wanted = [role for role in named if role in MODALITIES and MODALITIES.get(role).held == "files"]
        if other := [role for role in named if role not in (*wanted, "text")]:
            raise unknown(f"column of {self._archive}", other[0], (*there, "text"))
        plain = [name for name in there if not (MODALITIES.get(name).arrays and _PICTURE in there)]
        taken = [name for name in there if name in wanted] if wanted else plain
        read = [record for key, it in examples.items() if (record := self._record(key, it, taken))]
        captioned = any(record.cells["text"] for record in read)
        columns = {name: name for name in taken} | {"text": "text"} if taken else PAIR
        if len(taken) > 1:
            return Records.collect(read, columns, gaps=True)
        whole = [record for record in read if record.cells["text"] or not captioned]
        for record in read:
            if captioned and not record.cells["text"]:
                self._lost("no caption", record.key, _advice(record.key))
        return Records.collect(whole, columns)

    def _noted(
        self, key: str, example: _Example, noted: Mapping[str, str], made: Mapping[str, Sequence[str]]
    ) -> Record | None:
        """Return an example of a shard that notes its columns; None for one that is broken.

        Args:
            key: of the example.
            example: its files.
            noted: the columns of the shard, each with its modality.
            made: the columns to read, each with those of the shard that it is made of.
        """
        values = self._values(key, example)
        if values is None:
            return None
        cells: dict[str, Cell] = {}
        for column, names in made.items():
            held = MODALITIES.get(noted[names[0]]).held
            if held == "files":
                cells[column] = example.files.get(names[0])
            elif parts := [values[name] for name in names if values.get(name)]:
                cells[column] = tuple(chain.from_iterable(parts)) if held == "texts" else parts[0]
        where, taken = f"{self._archive}, {key}", {*chain.from_iterable(made.values())}
        facts = facts_in(values, where, self._user_columns, taken, self._ids)
        return Record(cells, key, where=where, **facts)

    def _record(self, key: str, example: _Example, taken: Sequence[str]) -> Record | None:
        """Return an example with its files of some columns; None for one that lacks them, or is broken."""
        files: dict[str, Cell] = {name: it for name, it in example.files.items() if name in taken}
        if not files:
            held = sorted(
                {*example.others, *(["txt"] if example.text else []), *(["json"] if example.values else [])}
            )
            self._ledger.add("passed over", "no picture in an example", self._archive, key, ", ".join(held))
            return None
        values = self._values(key, example)
        if values is None:
            return None
        text = (
            "" if example.text is None else decoded(example.text, self._ledger, self._archive, f"{key}.txt")
        )
        captions = caption_lines(text, self._ledger, self._archive, f"{key}.txt")
        captions = captions or captions_in(values, f"{self._archive}: {key}", self._user_columns)
        if not captions and (example.text is not None or any(name in values for name in CAPTION_COLUMNS)):
            self._lost("empty caption", key, _advice(key))
            return None
        where = f"{self._archive}, {key}"
        facts = {
            "split": split_of(PurePosixPath(self._archive).name),
            **facts_in(values, where, self._user_columns, caption_names(self._user_columns), self._ids),
        }
        return Record({**files, "text": captions or None}, key, where=where, **facts)

    def _values(self, key: str, example: _Example) -> Mapping[str, Any] | None:
        """Return what the JSON of an example says; None where it is broken."""
        if example.values is None:
            return {}
        try:
            read = json.loads(decoded(example.values, self._ledger, self._archive, f"{key}.json"))
        except (ValueError, RecursionError) as error:
            self._lost("broken JSON", f"{key}.json", str(error))
            return None
        return read if isinstance(read, dict) else {}

    def _lost(self, reason: str, row: str, detail: str) -> None:
        self._ledger.add("lost", reason, self._archive, row, detail)


def _advice(key: str) -> str:
    return f"add a {key}.txt or a {key}.json with a text"
