"""Examples in folders that are called after splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import final

from ._ledger import Ledger
from ._names import PICTURES, is_divided, split_folders
from ._options import SourceOptions
from ._reading import shards_of, suffixes
from ._record import Records
from ._source import Shard, Source
from .tables.table import TableSource


@final
class SplitFolderSource(Source):
    """Folders called after splits (``train``, ``test``, ``val`` …), each with anything that a folder may hold."""

    precedence = 2
    takes = frozenset({"captions", "columns", "outside"})

    def recognises(self, written: str) -> bool:
        return is_divided(Path(written))

    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        folder = Path(written)
        sides = split_folders(folder)
        read = {*suffixes(), *PICTURES} - TableSource.suffixes
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


def _one_side(folder: Path, side: str, shard: Shard) -> str:
    if shard.split not in (None, side):
        raise ValueError(f"{shard.location}: split {shard.split!r}, but {folder} is of {side}")
    return side
