"""LJSpeech, and what is laid out like it: recordings of one voice, each with what is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import final

from ._files.asset import Asset
from ._files.locations import state_of
from ._files.text import opened_text
from ._ledger import Ledger
from ._options import SourceOptions
from ._record import Cell, Record, Records
from ._source import Shard, Source

_TABLE, _SOUNDS, _MARK = "metadata.csv", "wavs", "|"


@final
class LJSpeech(Source):
    """A folder with ``metadata.csv``, which has no header but ``NAME|text|text in words``, and ``wavs/NAME.wav``.

    The text in words, in which numbers and abbreviations are written out, is what is read, where there is one.

    Source: Ito and Johnson, "The LJ Speech Dataset" (2017).
    """

    precedence = 0

    def recognises(self, written: str) -> bool:
        table = _table(Path(written))
        # A table of another name may be of any form, whatever folders lie beside it.
        if not (table.name == _TABLE and os.path.isfile(table) and table.with_name(_SOUNDS).is_dir()):
            return False
        with opened_text(str(table), Ledger()) as file:
            name = file.readline().split(_MARK)[0].strip()
        return bool(name) and _sound(table, name).is_file()

    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        table = _table(Path(written))
        return [Shard(table.parent.name, str(table), "ljspeech", state_of([table]), options)]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read the lines of the table."""
        return Records.collect(_records(Path(shard.location), ledger), {"audio": "audio", "text": "text"})


def _table(path: Path) -> Path:
    return path / _TABLE if os.path.isdir(path) else path


def _sound(table: Path, name: str) -> Path:
    return table.with_name(_SOUNDS) / f"{name}.wav"


def _records(table: Path, ledger: Ledger) -> Iterator[Record]:
    with opened_text(str(table), ledger) as file:
        for number, line in enumerate(file, 1):
            name, *texts = (part.strip() for part in line.split(_MARK))
            if not name:
                continue
            if not _sound(table, name).is_file():
                ledger.add("lost", "no such file", table, number, name)
                continue
            caption = next((text for text in reversed(texts) if text), "")
            if not caption:
                ledger.add("lost", "empty caption", table, number, name)
                continue
            cells: dict[str, Cell] = {"audio": Asset.of(_sound(table, name)), "text": (caption,)}
            yield Record(cells, name, name, where=f"{table}, row {number}")
