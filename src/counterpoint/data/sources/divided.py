"""Examples in folders that are called after splits."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import final

from ._ledger import Ledger
from ._names import PICTURES, split_of
from ._options import Options
from ._reading import shards_of, suffixes
from ._record import Records
from ._source import Shard, Source
from .tables.table import Table


@final
class Divided(Source):
    """Folders called after splits (``train``, ``test``, ``val`` …), each with anything that a folder may hold."""

    precedence = 2
    takes = frozenset({"captions", "columns", "outside"})

    def recognises(self, written: str) -> bool:
        """Return whether there is a folder called after another split than ``train``, which alone says nothing."""
        return any(side != "train" for side in _sides(Path(written)).values())

    def shards(self, written: str, options: Options, ledger: Ledger) -> list[Shard]:
        folder = Path(written)
        sides = _sides(folder)
        read = {*suffixes(), *PICTURES} - Table.suffixes
        for path in sorted(folder.iterdir()):
            beside = path not in sides and not path.name.startswith(".")
            if beside and (path.is_dir() or path.suffix.lower() in read):
                ledger.add("passed over", "beside what is read", path)
        return [
            replace(
                shard,
                name=f"{inner.name}/{shard.name}",
                part="/".join(filter(None, (inner.stem, shard.part))),
                split=_one_side(inner, side, shard),
            )
            for inner, side in sides.items()
            for shard in shards_of(str(inner), options, ledger)
        ]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        raise AssertionError("each shard is of the source that reads the folder inside")


def _sides(folder: Path) -> dict[Path, str]:
    # Names first, as a folder may hold very many files.
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {
        folder / name: side
        for name in names
        if name.isalpha() and (side := split_of(name)) and (folder / name).is_dir()
    }


def _one_side(folder: Path, side: str, shard: Shard) -> str:
    if shard.split not in (None, side):
        raise ValueError(f"{shard.place}: split {shard.split!r}, but {folder} is of {side}")
    return side
