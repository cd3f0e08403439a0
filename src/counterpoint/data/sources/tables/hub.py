"""Data sets of Hugging Face's hub by their names, whose files are read where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from ....trust import check_address
from .._files.locations import files_of, short_names, suffix_of
from .._ledger import Ledger
from .._options import SourceOptions
from .._record import Records
from .._source import Shard, Source
from .arrow import shards_of
from .table import TableSource, part_of_tables, sides_by_name

_DONE = "dataset_info.json"  # in the folder of a data set that `datasets` fetched
_READ_BY = {**dict.fromkeys(TableSource.suffixes, "table"), ".tar": "webdataset"}


@final
class Hub(Source):
    """Data sets of the hub: ``hf:NAME``, ``hf:NAME:CONFIGURATION``.

    Tables and shards of WebDataset are read where they lie, and of tables that hold pictures only those parts that are
    asked for. Other files are fetched by `datasets`, unless they were before. Splits that are called train, validation
    or test are ours, where there are several.
    """

    precedence = 0
    takes = frozenset({"columns", "outside"})
    head = "hf:"

    def recognises(self, written: str) -> bool:
        return written.startswith(self.head)

    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        check_address(written)
        try:
            builder = _builder(written)
            files = _files(builder)
            if files is None:
                return shards_of(_fetched(builder), options)
        except Exception as error:  # of the hub's package, and of the network below it
            message = " ".join(str(error).split())
            raise ValueError(f"{written} cannot be loaded: {type(error).__name__}: {message}") from error
        states = files_of(*(file for each in files.values() for file in each))
        names = dict(zip(states, short_names(states), strict=True))
        sides = sides_by_name(files)
        return [
            Shard(
                names[file],
                file,
                _READ_BY[suffix_of(file)],
                states[file],
                options,
                part=part_of_tables(names[file], len(names)),
                split=sides.get(split),
            )
            for split, each in files.items()
            for file in each
        ]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        raise AssertionError("each shard is of the source that reads such files")


def _builder(written: str) -> Any:
    import datasets

    name, _, configuration = written.removeprefix(Hub.head).partition(":")
    if not name:
        raise ValueError(f"write the name of a data set behind it: {Hub.head}OWNER/NAME")
    return datasets.load_dataset_builder(name, configuration or None)


def _files(builder: Any) -> Mapping[str, list[str]] | None:
    """Return the files of a data set by split; None where `datasets` fetched it before, or alone reads such files."""
    files = {str(split): list(map(str, each)) for split, each in (builder.config.data_files or {}).items()}
    kinds = {suffix_of(file) for each in files.values() for file in each}
    fetched = (Path(builder.cache_dir) / _DONE).exists()
    return None if fetched or not kinds or kinds - set(_READ_BY) else files


def _fetched(builder: Any) -> Mapping[str, list[str]]:
    """Return the Arrow files of a data set by split; it is fetched, if it never was."""
    builder.download_and_prepare()
    loaded = builder.as_dataset()
    return {str(split): [file["filename"] for file in part.cache_files] for split, part in loaded.items()}
