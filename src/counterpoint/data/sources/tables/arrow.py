"""Data sets of Hugging Face on disk: a folder that ``save_to_disk`` wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from .._files.locations import state_of
from .._ledger import Ledger
from .._options import SourceOptions
from .._record import Records
from .._source import Shard, Source
from . import _parquet
from .table import records_of, sides_by_name

_OF_SPLITS = "dataset_dict.json"
_OF_ONE = "state.json"


@final
class Arrow(Source):
    """Arrow files as `datasets` has them, in a folder that it wrote.

    Splits that are called train, validation or test are ours, where there are several.
    """

    precedence = 0
    takes = frozenset({"columns", "outside"})

    def recognises(self, written: str) -> bool:
        folder = Path(written)
        return any(os.path.isfile(folder / name) for name in (_OF_SPLITS, _OF_ONE))

    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        return shards_of(_saved(Path(written)), options)

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read an Arrow file; see `counterpoint.data.sources.tables.table.TableSource.open`."""
        roles, blocks = _parquet.blocks_of(shard.location, shard.options.columns)
        return records_of(shard, roles, blocks, ledger)


def shards_of(files: Mapping[str, list[str]], options: SourceOptions) -> list[Shard]:
    """Return Arrow files, given by split, as shards."""
    sides = sides_by_name(files)
    return [
        Shard(
            f"{name}/{Path(file).name}",
            file,
            "arrow",
            state_of([file]),
            options,
            part=name if len(files) > 1 else "",
            split=sides.get(name),
        )
        for name, parts in files.items()
        for file in parts
    ]


def _saved(folder: Path) -> Mapping[str, list[str]]:
    """Return the Arrow files that were saved to a folder, by split.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        if (folder / _OF_SPLITS).is_file():
            names = json.loads((folder / _OF_SPLITS).read_text(encoding="utf-8"))["splits"]
            return {name: _listed(folder / name) for name in names}
        return {"all": _listed(folder)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder} is no whole folder of datasets.save_to_disk ({type(error).__name__}: {error}): save it again"
        ) from error


def _listed(folder: Path) -> list[str]:
    state: Mapping[str, Any] = json.loads((folder / _OF_ONE).read_text(encoding="utf-8"))
    files = [folder / file["filename"] for file in state["_data_files"]]
    if missing := [file for file in files if not file.is_file()]:
        raise FileNotFoundError(f"there is no {missing[0]}")
    return list(map(str, files))
