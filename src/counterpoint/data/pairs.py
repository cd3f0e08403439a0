"""A user's own pairs: a folder, a CSV, TSV, JSONL or Parquet table of pictures and captions, WebDataset shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import UInt8
from torch import Tensor

from .base import Labels, PairedData, Rows, Splits, stored_size
from .division import SIDES, Division, Links, divide
from .pictures import Pictures
from .sources import Record, read_records

_MOST_CLASSES = 200
_BROKEN_ALLOWED = 0.01


@dataclass(frozen=True)
class Report:
    """What is worth knowing before training on somebody's files."""

    examples: Mapping[str, int]
    broken: tuple[str, ...]
    duplicate_pictures: int
    duplicate_captions: int
    leaked: Mapping[str, int]
    notes: Mapping[str, str]
    caption_words: tuple[float, int, int]

    def lines(self) -> dict[str, str]:
        mean, least, most = self.caption_words
        leaks = ", ".join(f"{count} by {kind}" for kind, count in self.leaked.items() if count)
        return {
            "examples": ", ".join(f"{side} {self.examples[side]}" for side in SIDES if side in self.examples),
            **self.notes,
            "caption words": f"{mean:.1f} on average, {least} to {most}",
            "duplicates": f"{self.duplicate_pictures} picture(s), {self.duplicate_captions} caption(s)",
            "leaked from training to held-out rows": f"{leaks}: scored apart" if leaks else "none",
            "broken pictures left out": ", ".join(self.broken[:5]) or "none",
        }


class Pairs(PairedData):
    """Pictures and captions from files.

    A table has a column for the picture (``file_name`` or ``image``; relative to the table) and one for the caption
    (``text``); ``split`` (train, validation, test) and ``id`` are optional, and any other column of text with at
    least two and at most 200 values becomes a way to classify. Rows with the same picture are one example with
    several captions. A folder holds such a table (``metadata.csv``, …), WebDataset shards (``.tar``; see
    :mod:`counterpoint.data.sources.webdataset`), or pictures with a ``.txt`` beside each.
    Without a ``split`` column, a hash puts 80 % into train and 10 % each into validation and test, rows of one
    caption, one picture or one ``group`` together (see :func:`counterpoint.data.division.divide`); with train and test
    alone, validation is taken from train.

    Pictures are decoded once, to squares of ``size`` pixels (shorter side, centre crop), into the cache folder.

    Args:
        source: the folder or the table.
        size: side of the stored pictures.

    Raises:
        ValueError: if there is no usable table, no row to test on, or more than 1 % of the pictures are unreadable.
    """

    def __init__(self, source: str | Path, size: int = 64) -> None:
        self.name = str(source)
        records = list(read_records(Path(source)))
        if not records:
            raise ValueError(f"{source} holds no pairs")
        self._pictures = Pictures([record.picture for record in records], size)
        digests, broken = self._pictures.digests, self._pictures.unreadable
        if len(broken) > _BROKEN_ALLOWED * len(records):
            named = "; ".join(f"{records[i].picture}: {reason}" for i, reason in list(broken.items())[:3])
            raise ValueError(
                f"{len(broken)} of {len(records)} pictures cannot be read ({named}): mend or remove these rows"
            )
        self._sizes = {size: self}
        kept = [i for i in range(len(records)) if i not in broken]
        self._row_of = np.asarray(kept)
        self._records = [records[i] for i in kept]
        self._digests = [bytes.fromhex(digests[i]) for i in kept]
        self.ids = np.asarray([r.id for r in self._records], dtype=np.int64)
        known = [digests[i] for i in kept]
        division = divide([r.split for r in self._records], _links(self._records, known))
        self.splits = _splits(self.name, division.sides)
        self.leaked = division.leaked
        self.subsets = _subsets(division)
        self.labels = _labels(self._records)
        self.report = _report(self._records, known, division, [str(records[i].picture) for i in broken])

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        return self._pictures.images(self._row_of[np.asarray(rows)])

    def sized(self, image_size: int) -> Pairs:
        size = stored_size(image_size)
        if size not in self._sizes:
            other = self._sizes[size] = copy(self)
            other._pictures = self._pictures.sized(size)
        return self._sizes[size]

    def captions(self, row: int) -> Sequence[str]:
        return self._records[row].captions

    def picture_digests(self) -> Sequence[bytes]:
        return self._digests

    def describe(self) -> dict[str, dict[str, Any]]:
        return super().describe() | {"report": self.findings()}

    def findings(self) -> dict[str, str]:
        return self.report.lines()

    def evaluation_captions(self, row: int) -> Sequence[str]:
        return self._records[row].captions


def _links(records: Sequence[Record], digests: Sequence[str]) -> list[Links]:
    return [
        Links.of("group", pl.Series([r.labels.get("group") for r in records], dtype=pl.String)),
        Links.of_captions(pl.Series([list(r.captions) for r in records], dtype=pl.List(pl.String))),
        Links.of("picture", pl.Series(list(digests), dtype=pl.String)),
    ]


def _subsets(division: Division) -> np.ndarray:
    """Return ``"leaked"`` and ``"clean"`` for held-out rows, or ``"all"`` for every row where nothing leaked."""
    leaked = np.any(list(division.leaked.values()), axis=0)
    if not leaked.any():
        return np.full(len(leaked), "all")
    return np.where(division.sides == "train", "training", np.where(leaked, "leaked", "clean"))


def _splits(name: str, sides: np.ndarray) -> Splits:
    rows = {side: np.flatnonzero(sides == side) for side in SIDES}
    counts = {side: len(found) for side, found in rows.items()}
    if not counts["test"] or (counts["train"] and not counts["validation"]):
        empty = "validation" if counts["test"] else "test"
        raise ValueError(
            f"{name}: the split {empty!r} is empty ({counts}); give a 'split' column with train, validation and test, "
            "or none at all"
        )
    held_out = {"held out": rows["validation"]} if counts["validation"] else {}
    return Splits(rows["train"], held_out, {"held out": rows["test"]})


def _labels(records: Sequence[Record]) -> dict[str, Labels]:
    found = {}
    for name in sorted({name for r in records for name in r.labels}):
        values = [r.labels.get(name) for r in records]
        names = sorted({v for v in values if v is not None})
        if 2 <= len(names) <= _MOST_CLASSES:
            number = {value: k for k, value in enumerate(names)}
            found[name] = Labels(
                tuple(names),
                np.asarray([-1 if v is None else number[v] for v in values], dtype=np.int64),
                ("{}", "a photo of {}", "a picture of {}"),
            )
    return found


def _report(
    records: Sequence[Record], digests: Sequence[str], division: Division, broken: Sequence[str]
) -> Report:
    said_by_all = [c for r in records for c in r.captions]
    words = [len(c.split()) for c in said_by_all]
    return Report(
        examples=dict(Counter(division.sides.tolist())),
        broken=tuple(broken),
        duplicate_pictures=len(digests) - len(set(digests)),
        duplicate_captions=len(said_by_all) - len(set(said_by_all)),
        leaked={kind: int(rows.sum()) for kind, rows in division.leaked.items()},
        notes=division.notes,
        caption_words=(sum(words) / len(words), min(words), max(words)),
    )
