"""A user's own pairs: a folder, a CSV, TSV, JSONL or Parquet table of pictures and captions, WebDataset shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from .base import Labels, PairedData, Rows, Splits
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
    leaked_pictures: int
    leaked_captions: int
    caption_words: tuple[float, int, int]

    def lines(self) -> dict[str, str]:
        mean, least, most = self.caption_words
        leaks = self.leaked_pictures or self.leaked_captions
        return {
            "examples": ", ".join(f"{name} {count}" for name, count in self.examples.items()),
            "caption words": f"{mean:.1f} on average, {least} to {most}",
            "duplicates": f"{self.duplicate_pictures} picture(s), {self.duplicate_captions} caption(s)",
            "leakage from training to held-out splits": (
                f"{self.leaked_pictures} picture(s), {self.leaked_captions} caption(s)" if leaks else "none"
            ),
            "broken pictures left out": ", ".join(self.broken[:5]) or "none",
        }


class Pairs(PairedData):
    """Pictures and captions from files.

    A table has a column for the picture (``file_name`` or ``image``; relative to the table) and one for the caption
    (``text``); ``split`` (train, validation, test) and ``id`` are optional, and any other column of text with at
    least two and at most 200 values becomes a way to classify. Rows with the same picture are one example with
    several captions. A folder holds such a table (``metadata.csv``, …), WebDataset shards (``.tar``; see
    :mod:`counterpoint.data.sources.webdataset`), or pictures with a ``.txt`` beside each.
    Without a ``split`` column, a hash of the picture's bytes puts 80 % into train and 10 % each into validation and
    test, so that identical pictures never part.

    Pictures are decoded once, to squares of ``size`` pixels (shorter side, centre crop), into the cache folder.

    Args:
        source: the folder or the table.
        size: side of the stored pictures.

    Raises:
        ValueError: if there is no usable table, a split is empty, or more than 1 % of the pictures are unreadable.
    """

    def __init__(self, source: str | Path, size: int = 64) -> None:
        self.name = str(source)
        records = list(read_records(Path(source)))
        if not records:
            raise ValueError(f"{source} holds no pairs")
        self._pictures = Pictures.of([record.picture for record in records], size)
        digests, broken = self._pictures.digests, self._pictures.unreadable
        if len(broken) > _BROKEN_ALLOWED * len(records):
            named = "; ".join(f"{records[i].picture}: {reason}" for i, reason in list(broken.items())[:3])
            raise ValueError(
                f"{len(broken)} of {len(records)} pictures cannot be read ({named}): mend or remove these rows"
            )
        kept = [i for i in range(len(records)) if i not in broken]
        self._row_of = np.asarray(kept)
        self._records = [records[i] for i in kept]
        self._digests = [bytes.fromhex(digests[i]) for i in kept]
        self.ids = np.asarray([r.id for r in self._records], dtype=np.int64)
        sides = [r.split or _hashed_split(digests[i]) for r, i in zip(self._records, kept, strict=True)]
        self.splits = _splits(self.name, sides)
        self.subsets = np.full(len(self._records), "all")
        self.labels = _labels(self._records)
        self.report = _report(
            self._records, [digests[i] for i in kept], sides, [str(records[i].picture) for i in broken]
        )

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        return self._pictures.images(self._row_of[np.asarray(rows)])

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


def _hashed_split(digest: str) -> str:
    unit = int(digest[:8], 16) / 16**8
    return "train" if unit < 0.8 else "validation" if unit < 0.9 else "test"


def _splits(name: str, sides: Sequence[str]) -> Splits:
    rows = {side: np.flatnonzero(np.asarray(sides) == side) for side in ("train", "validation", "test")}
    empty = [side for side, found in rows.items() if not len(found)]
    if empty:
        counts = {side: len(found) for side, found in rows.items()}
        raise ValueError(
            f"{name}: the split {empty[0]!r} is empty ({counts}); give a 'split' column with train, validation and test"
        )
    return Splits(rows["train"], {"held out": rows["validation"]}, {"held out": rows["test"]})


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
    records: Sequence[Record], digests: Sequence[str], sides: Sequence[str], broken: Sequence[str]
) -> Report:
    said_by_all = [c for r in records for c in r.captions]
    words = [len(c.split()) for c in said_by_all]
    training = {d for d, s in zip(digests, sides, strict=True) if s == "train"}
    said = {c for r, s in zip(records, sides, strict=True) if s == "train" for c in r.captions}
    held_out = [(d, r) for d, r, s in zip(digests, records, sides, strict=True) if s != "train"]
    return Report(
        examples=dict(Counter(sides)),
        broken=tuple(broken),
        duplicate_pictures=len(digests) - len(set(digests)),
        duplicate_captions=len(said_by_all) - len(set(said_by_all)),
        leaked_pictures=sum(d in training for d, _ in held_out),
        leaked_captions=sum(any(c in said for c in r.captions) for _, r in held_out),
        caption_words=(sum(words) / len(words), min(words), max(words)),
    )
