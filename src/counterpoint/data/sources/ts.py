"""Series in ``.ts`` files, the form of the UCR and UEA archives: a series a line, its class or number behind it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import final

from ._files.asset import Asset
from ._files.locations import opened, state_of, suffix_of
from ._ledger import Ledger
from ._names import SPLITS
from ._options import SourceOptions
from ._record import Record, Records
from ._source import Shard, Source

_LABELS = {b"@classlabel": "class", b"@targetlabel": "target"}
"""Lines of the header that say that a label stands behind each series, with its name."""


@final
class TimeSeries(Source):
    """A ``.ts`` file, or a folder with some: ``BasicMotions_TRAIN.ts`` and ``BasicMotions_TEST.ts`` are splits.

    A line holds a series: its channels with colons between them, the values of each with commas, ``?`` for one that was
    not measured; then, where the header says ``@classLabel true``, a colon and the class, which becomes the label
    ``class``, or, where it says ``@targetLabel true``, the number to predict, which becomes the label ``target``.
    Series, and channels of one series, may be of different lengths. Lines that say the time of each value are not read.

    Source: Bagnall et al., "The UEA multivariate time series classification archive, 2018", arXiv 1811.00075; for
    ``@targetLabel``, Tan et al., "Time series extrinsic regression" (2021), arXiv 2006.12672.
    """

    suffixes = frozenset({".ts"})
    precedence = 3

    def recognises(self, written: str) -> bool:
        return bool(_files(written))

    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        files = _files(written)
        sides = {file: SPLITS.get(PurePath(file).stem.rpartition("_")[2].lower()) for file in files}
        return [
            Shard(
                PurePath(file).name,
                file,
                "ts",
                state_of([Path(file)]),
                options,
                split=sides[file] if None not in sides.values() and len(files) > 1 else None,
            )
            for file in files
        ]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read where the lines of a file begin and end, and their labels.

        Raises:
            ValueError: for a file without ``@data``, or of series with times.
        """
        return Records.collect(_records(shard, ledger), {"series": "series"})


def _files(written: str) -> list[str]:
    if os.path.isdir(written):
        return [str(file) for file in sorted(Path(written).glob("*.ts"))]
    return [written] if suffix_of(written) in TimeSeries.suffixes else []


def _records(shard: Shard, ledger: Ledger) -> Iterator[Record]:
    label, stem, offset, row, begun = "", PurePath(shard.location).stem, 0, 0, False
    with opened(shard.location) as file:
        for number, line in enumerate(file, 1):
            start, offset = offset, offset + len(line)
            text = line.strip().lower()
            if not text or text.startswith(b"#"):
                continue
            if not begun:
                word, *said = text.split()
                if word in _LABELS and said[:1] == [b"true"]:
                    label = _LABELS[word]
                if word == b"@timestamps" and said[:1] == [b"true"]:
                    raise ValueError(
                        f"{shard.location}: its series say the time of each value, which is not read: write values at "
                        "equal steps, with @timeStamps false"
                    )
                begun = text == b"@data"
                continue
            row += 1
            where = f"{shard.location}, line {number}"
            values, colon, told = line.rpartition(b":") if label else (line, b"", b"")
            if label and not colon:
                ledger.add("lost", f"series without a {label}", where)
                continue
            asset = Asset(shard.location, f"{row}", start, len(values))
            labels = {label: told.strip().decode(errors="replace")} if label else {}
            yield Record({"series": asset}, f"{stem}:{row}", split=shard.split, labels=labels, where=where)
    if not begun:
        raise ValueError(f"{shard.location} has no line @data, after which a .ts file holds its series")
