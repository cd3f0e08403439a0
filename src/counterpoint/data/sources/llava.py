"""Conversations about pictures in LLaVA's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from ._files.asset import Asset
from ._files.locations import leads_out, state_of
from ._ledger import Ledger
from ._options import SourceOptions
from ._record import Cell, Record, Records
from ._source import Shard, Source

_PICTURE = "<image>"
_PEOPLE, _MODELS = ("human", "user"), ("gpt", "assistant")


@final
class LLaVA(Source):
    """A JSON file with a list of objects that have ``image`` and ``conversations``.

    A conversation is a list of turns ``{"from": "human" or "gpt", "value": …}``, a request and its reply in turn. A
    first turn from ``system`` is left out, and so is the marker ``<image>``. Pictures are named from the file's folder,
    or from the folder ``images`` in it. ``id`` and ``split`` are optional.

    Source: the instruction data of Liu et al., "Visual Instruction Tuning" (2023), arXiv 2304.08485.
    """

    suffixes = frozenset({".json"})

    def recognises(self, written: str) -> bool:
        path = Path(written)
        if path.suffix.lower() != ".json" or not path.is_file():
            return False
        with path.open(encoding="utf-8") as file:
            return file.read(1) == "[" and '"conversations"' in file.read(1 << 16)

    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        path = Path(written)
        return [Shard(path.name, written, "llava", state_of([path]), options)]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read the file.

        Raises:
            ValueError: for a file of another form; the message names the entry.
        """
        path = Path(shard.location)
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} cannot be read as JSON: {error}") from error
        columns = {"image": "image", "talk": "talk"}
        return Records.collect(_records(path, entries, ledger), columns, gaps=True)


def _records(path: Path, entries: list[Any], ledger: Ledger) -> Iterator[Record]:
    for number, entry in enumerate(entries, 1):
        where = f"{path}, entry {number}"
        cells: dict[str, Cell] = {"talk": _turns(where, entry)}
        if name := entry.get("image"):
            if not isinstance(name, str):
                raise ValueError(f"{where}: image is no path; an entry has one picture")
            file = next(
                (it for it in (path.parent / name, path.parent / "images" / name) if it.is_file()), None
            )
            if leads_out(name) or file is None:
                reason = "path that leads out of the folder" if leads_out(name) else "no such file"
                ledger.add("lost", reason, path, number, name)
                continue
            cells["image"] = Asset.of(file)
        identity = None if entry.get("id") is None else str(entry["id"])
        yield Record(cells, identity or f"entry {number}", identity, entry.get("split"), where=where)


def _turns(where: str, entry: Any) -> tuple[str, ...]:
    """Return requests and replies in turn.

    Raises:
        ValueError: where they are not so.
    """
    try:
        turns = [(turn["from"], turn["value"]) for turn in entry["conversations"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f'{where}: expected "conversations", a list of {{"from": …, "value": …}}') from error
    if turns and turns[0][0] == "system":
        turns = turns[1:]
    for place, (speaker, text) in enumerate(turns):
        if speaker not in (_MODELS if place % 2 else _PEOPLE) or not isinstance(text, str):
            raise ValueError(f"{where}: turn {place + 1} is from {speaker!r}; human and gpt must take turns")
    if len(turns) % 2:
        raise ValueError(f"{where}: the last request has no reply")
    return tuple(" ".join(text.replace(_PICTURE, " ").split(" ")).strip() for _, text in turns)
