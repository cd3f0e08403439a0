"""Labels of the rows of an index: what its pass found, in a file that is mapped, so that nothing is held a row."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ...files import writing
from ..base import Rows
from ..labels import MOST_CLASSES
from ..listed.labels import Named, is_several
from ..sources import Records

_NONE = 255  # the code of a record without a value; classes are fewer
_BLOCK = 2**20

Told = Mapping[str, Mapping[str, Any] | None]
"""For each label of a shard its ``classes`` and ``codes``, those of its records; None for too many classes."""


def labels_told(records: Records) -> Told:
    """Return what is kept of the labels of a shard's records, in a form that JSON can carry."""
    kept: dict[str, Mapping[str, Any] | None] = {}
    for name, values in records.labels().items():
        classes = values.drop_nulls().unique().sort().to_list()
        if len(classes) > MOST_CLASSES or is_several(values):  # an index knows classes alone
            kept[name] = None
        else:
            codes = values.replace_strict(classes, range(len(classes)), default=_NONE, return_dtype=pl.UInt8)
            packed = zlib.compress(codes.fill_null(_NONE).to_numpy().tobytes())
            kept[name] = {"classes": classes, "codes": base64.b64encode(packed).decode()}
    return kept


def write_labels(
    folder: Path,
    shards: Callable[[], Iterable[tuple[str, Told]]],
    starts: Mapping[str, tuple[int, int]],
    held_out: Records,
) -> dict[str, tuple[str, ...]]:
    """Write the class of every row, and return the classes of each label.

    Args:
        folder: of the index.
        shards: yields the names of the shards that were read, each with what was told of it, as often as asked.
        starts: the first row of every shard that is trained on, and the number of its rows.
        held_out: the rows after these.
    """
    found: dict[str, set[str] | None] = {}

    def add(name: str, classes: Iterable[str] | None) -> None:
        before = found.setdefault(name, set())
        both = None if before is None or classes is None else before.union(classes)
        found[name] = None if both is None or len(both) > MOST_CLASSES else both

    for _, labels in shards():
        for name, label in labels.items():
            add(name, None if label is None else label["classes"])
    held = held_out.labels()
    for name, values in held.items():
        add(name, values.drop_nulls().unique())
    labels_ = {
        name: names
        for name, classes in sorted(found.items())
        if classes is not None and (names := Named.of(pl.Series(sorted(classes), dtype=pl.String)).names)
    }
    count = sum(rows for _, rows in starts.values())
    for number, (name, names) in enumerate(labels_.items()):
        codes = {one: code for code, one in enumerate(names)}
        with writing(_file(folder, number)) as part:
            rows = np.lib.format.open_memmap(part, "w+", np.dtype("<i8"), (count + len(held_out),))
            for start in range(0, len(rows), _BLOCK):
                rows[start : start + _BLOCK] = -1
            for shard, labels in shards():
                if (label := labels.get(name)) is not None and shard in starts:
                    start, several = starts[shard]
                    rows[start : start + several] = _coded(label, codes)
            if name in held:
                rows[count:] = (
                    held[name].replace_strict(codes, default=-1, return_dtype=pl.Int64).fill_null(-1)
                )
            rows.flush()
    return labels_


def read_labels(folder: Path, names: Sequence[str]) -> dict[str, Rows]:
    """Return the class of every row for each label that was written, mapped from files."""
    return {name: np.load(_file(folder, number), mmap_mode="r") for number, name in enumerate(names)}


def _coded(label: Mapping[str, Any], codes: Mapping[str, int]) -> Rows:
    of_shard = np.full(256, -1)
    of_shard[: len(label["classes"])] = [codes[one] for one in label["classes"]]
    coded: Rows = of_shard[np.frombuffer(zlib.decompress(base64.b64decode(label["codes"])), np.uint8)]
    return coded


def _file(folder: Path, number: int) -> Path:
    return folder / f"label-{number}.npy"
