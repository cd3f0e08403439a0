"""Everything that the sections of a report look at, gathered once."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, final

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from PIL import Image

from ...modalities import MODALITIES, Modality, resolve
from ...recipes.schema import Towers
from ..base import Data
from ..columns import TEXT, subject
from ..labels import Label
from ..listed.decoded import DecodedExamples
from ..listed.division import Division, divide
from ..listed.labels import labels_of
from ..listed.rows import links_of
from ..listed.stored import columns_there
from ..pictured import PairedData, PictureData
from ..pictures.alike import sets
from ..pictures.decode import shown
from ..pictures.traits import HASH_BYTES, looks_of
from ..replaced import MAX_BROKEN
from ..sources import Asset, Ledger, Records, SourceOptions
from ._looking import AT_ONCE, FileScan
from ._pairs import ReplyPairs, pairs_in_data, pairs_in_records

_SIDE = 96  # pixels of a sheet's pictures
_SAMPLE_SEED = 0
_RATED = 500  # files whose rate is looked at
_DRAWN = 500  # pictures of a world that are looked at unless more are asked for

Value = TypeVar("Value")
Looks = Callable[[Sequence[Asset], int], Iterable[FileScan]]
"""A way to look at pictures of at most so many pixels, in their order."""


@final
@dataclass(frozen=True)
class ColumnOverview:
    """One column as a report sees it.

    Attributes:
        modality: of it.
        headers: the columns of the user's table that it is made of; none where it is no table's.
        rows: that there are.
        lacking: of these, the rows that have nothing there.
        lengths: of its examples, in the unit of the modality; empty where they have none.
        rates: how often each rate occurs among files that say theirs, places a second.
    """

    modality: str
    headers: tuple[str, ...]
    rows: int
    lacking: int
    lengths: Float[np.ndarray, " n"]
    rates: Mapping[int, int]


@final
@dataclass(frozen=True)
class DataOverview:
    """Data as a report sees it.

    Attributes:
        source: as the user wrote it.
        columns: of the data, each with its modality.
        keys: what the user calls each row.
        texts: the captions of each row, a list each; empty lists where there are none.
        scans: the pictures that were looked at: all, or those of a sample of rows.
        sampled: they are a sample.
        division: which rows train, validate and test.
        given: the splits are the data's own.
        labels: of the rows.
        refused: what might have been a label and is none, each with why.
        ledger: what the source holds and the data does not; see `counterpoint.data.sources.Ledger`.
        towers: of the recipe that captions and pictures are measured against.
        picture: draws a row's picture, at most so many pixels a side.
        attribution: the licence line of the pictures.
        stated: what the data says of itself, titles with names and values; nothing for a user's own files.
        examples: that the data has.
        sides: how many examples train, validate and test, whatever part of them is here.
        part: the rows here are a sample of the data's, captions and all, as of data over an index.
        about: the numbers of examples and sides are estimated from that sample.
        label_columns: of a user's own files what each column is, by its name.
        broken: the share of the examples that may be left out.
        pairs: good and worse replies, for each column of worse ones.
    """

    source: str
    columns: Mapping[str, str]
    keys: Sequence[str]
    texts: pl.Series
    scans: Sequence[FileScan]
    sampled: bool
    division: Division
    given: bool
    labels: Mapping[str, Label]
    refused: Mapping[str, str]
    ledger: pl.DataFrame
    towers: Towers
    picture: Callable[[int, int], Image.Image] = field(repr=False)
    attribution: str = ""
    stated: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    examples: int = 0
    sides: Mapping[str, int] = field(default_factory=dict)
    part: bool = False
    about: bool = False
    label_columns: Mapping[str, ColumnOverview] = field(default_factory=dict)
    broken: float = MAX_BROKEN
    pairs: tuple[ReplyPairs, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def enough(self) -> bool:
        """True where no split that training or testing needs is empty, or where splits are estimated from a sample."""
        trains, validates, tests = (self.sides.get(side) for side in ("train", "validation", "test"))
        return self.about or bool(tests and (validates or not trains))

    @property
    def lost(self) -> int:
        """The number of examples that cannot be used."""
        return len(self.ledger.filter(kind="lost"))

    @property
    def too_broken(self) -> float | None:
        """The share that has to be allowed to be left out for the data to be opened; None where it opens as it is."""
        every = len(self) + self.lost
        if not len(self) or self.lost <= max(1, self.broken * every):
            return None
        return min(math.ceil(100 * self.lost / every) / 100, 0.999)

    @property
    def pictures(self) -> list[FileScan]:
        """The files that are pictures."""
        return [look for look in self.scans if look.hash is not None]

    @cached_property
    def captions(self) -> pl.DataFrame:
        """Every caption: its ``row`` and its ``text``."""
        frame = pl.DataFrame({"row": np.arange(len(self.texts)), "text": self.texts})
        return frame.explode("text").drop_nulls("text")

    @cached_property
    def exact(self) -> list[list[int]]:
        """The rows of each set of pictures that are the same file, sets of two and more alone, larger ones first."""
        return _together([look.digest for look in self.pictures], [look.row for look in self.pictures])

    @cached_property
    def alike(self) -> list[list[int]]:
        """The rows of each set of pictures that look alike or are the same, as `exact`."""
        hashes = np.frombuffer(b"".join(look.hash or b"" for look in self.pictures), np.uint8)
        return _together(sets(hashes.reshape(-1, HASH_BYTES)).tolist(), [look.row for look in self.pictures])

    def named(self, rows: Sequence[int]) -> list[str]:
        """Return what the user calls the first rows of some."""
        return [self.keys[row] for row in rows[:3]]


def seen_in_records(
    source: str,
    records: Records,
    ledger: Ledger,
    *,
    options: SourceOptions,
    towers: Towers,
    sample: int | None,
    share: float,
    looking: Looks,
) -> DataOverview:
    """Look at a user's own files.

    Args:
        source: as the user wrote it.
        records: that were read from it; they may lack pictures or captions.
        ledger: that was told what was left out; is told what is broken.
        options: the user's word on the source.
        towers: see `DataOverview`.
        sample: look at the pictures of so many rows; None for all, of a part for a few hundred.
        share: of the source that the records are; of the whole is told by it.
        looking: looks at pictures.
    """
    columns = columns_there(records)
    filed = [column for column, modality in columns.items() if MODALITIES.get(modality).held == "files"]
    pictured = [column for column in filed if resolve(MODALITIES.get(columns[column]).storage).hashed]
    part, most = share < 1, sample or (_DRAWN if share < 1 else None)
    scans: dict[str, list[FileScan]] = {}
    sampled = False
    for column in filed:
        with_files = np.flatnonzero(records.having(column).to_numpy())
        chosen = _chosen(with_files, most)
        sampled |= len(chosen) < len(with_files)
        files = records.with_frame(records.frame[chosen]).assets(column)
        modality = MODALITIES.get(columns[column])
        column_looks = looking(files, options.max_pixels) if column in pictured else _reads(files, modality)
        scans[column] = [
            replace(scan, row=row) for row, scan in zip(chosen.tolist(), column_looks, strict=True)
        ]
        for file, scan in zip(files, scans[column], strict=True):
            if scan.broken is not None:
                ledger.add("lost", scan.broken[0], file, detail=scan.broken[1])
    broken = {scan.row for each in scans.values() for scan in each if scan.broken is not None}
    whole = _whole(records, columns, ledger) & ~np.isin(np.arange(len(records)), list(broken))
    kept = np.flatnonzero(whole)
    number = {row: position for position, row in enumerate(kept.tolist())}
    records = records.with_frame(records.frame[kept])
    scans = {
        column: [replace(it, row=number.get(it.row, -1)) for it in each if it.row in number or it.broken]
        for column, each in scans.items()
    }
    seen_columns = {column: _column(records, column, scans.get(column, [])) for column in columns}
    digests = {
        column: _by_row(each, len(records), lambda scan: scan.digest.hex()) for column, each in scans.items()
    }
    main = (pictured or filed or [""])[0]
    stated = records.frame["split"]
    division = divide(
        stated.to_list(),
        links_of(
            records,
            {column: pl.Series(each, dtype=pl.String) for column, each in digests.items()},
            _by_row(scans.get(main, []), len(records), lambda scan: scan.hash),
        ),
    )

    def picture(row: int, side: int) -> Image.Image:
        cell = records.frame[main][row] if pictured else None
        return (
            _no_picture(row, side)
            if cell is None
            else shown(Asset(**cell).read_bytes(), side, options.max_pixels)
        )

    return DataOverview(
        source,
        columns,
        records.frame["key"].to_list(),
        records.frame["text"] if columns.get("text") == TEXT else _no_texts(len(records)),
        scans.get(main, []),
        sampled,
        division,
        stated.null_count() < len(stated),
        *labels_of(records.labels(), options.numbers, options.least),
        _within(ledger.frame),
        towers,
        picture,
        examples=round(len(records) / share),
        sides={side: round(n / share) for side, n in Counter(division.sides.tolist()).items()},
        part=part,
        about=part,
        label_columns=seen_columns,
        broken=options.broken,
        pairs=pairs_in_records(records, columns),
    )


def _whole(records: Records, columns: Mapping[str, str], ledger: Ledger) -> Bool[np.ndarray, " n"]:
    """Return which records are examples; the ledger is told of the others."""
    there = {column: records.having(column).to_numpy() for column in columns}
    if records.gaps:
        anything: Bool[np.ndarray, " n"] = np.any([*there.values()], axis=0)
        for where in records.frame.filter(pl.Series(~anything, dtype=pl.Boolean))["where"]:
            ledger.add("passed over", "nothing in any column", where)
        return anything
    column = subject(records.columns) or "image"
    one, file, captioned = MODALITIES.get(column).one, records.having(column), records.having(TEXT)
    if captioned.any():
        for where in records.frame.filter(file & ~captioned)["where"]:
            ledger.add("lost", f"{one} without a caption", where)
    for where in records.frame.filter(~file)["where"]:
        ledger.add("lost", f"caption without a {one}", where)
    return (file & (captioned | (not captioned.any()))).to_numpy()


def _column(records: Records, column: str, scans: Sequence[FileScan]) -> ColumnOverview:
    """Return what a column is; the rates are of some of its files."""
    modality = MODALITIES.get(records.columns[column])
    sound = [scan for scan in scans if scan.broken is None]
    rates = Counter[int]()
    if modality.rate is not None:
        for scan in sound[:: max(1, len(sound) // _RATED)]:
            rates[resolve(modality.rate)(Asset(**records.frame[column][scan.row]).read_bytes())] += 1
    del rates[0]  # of files that do not say theirs
    return ColumnOverview(
        modality.name,
        records.headers.get(column, ()),
        len(records),
        int((~records.having(column)).sum()),
        np.array([scan.length for scan in sound if modality.unit]),
        dict(rates.most_common()),
    )


def _by_row(
    scans: Sequence[FileScan], rows: int, value_of: Callable[[FileScan], Value]
) -> list[Value | None]:
    """Return what is told of the look at each row; None of one that was not looked at."""
    values: list[Value | None] = [None] * rows
    for scan in scans:
        if scan.row >= 0:
            values[scan.row] = value_of(scan)
    return values


def seen_in_data(source: str, data: Data, *, towers: Towers, sample: int | None) -> DataOverview:
    """Look at data that is open: a world, a benchmark, what a file of Python defines.

    Args:
        source: as the user wrote it.
        data: open.
        towers: see `DataOverview`.
        sample: look at the pictures of so many rows; None for a few hundred, as they may have to be drawn.
    """
    scans: list[FileScan] = []
    chosen = _chosen(np.arange(len(data)), sample or _DRAWN)
    rows = chosen if len(data.shards) else np.arange(len(data))
    if isinstance(data, PictureData):
        for start in range(0, len(chosen), AT_ONCE):
            some = chosen[start : start + AT_ONCE]
            positions = np.searchsorted(rows, some).tolist()
            for position, picture in zip(positions, data.images(some).numpy(), strict=True):
                digest = hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
                hashed = looks_of(Image.fromarray(picture.transpose(1, 2, 0)).convert("L"))
                scans.append(FileScan(position, digest, None, hashed))
    texts = [list(data.captions(row)) for row in rows.tolist()] if isinstance(data, PairedData) else None
    sides, counts = np.full(len(rows), "", dtype="U10"), dict[str, int]()
    for name, of_side in data.splits.sides.items():
        side = name.partition(":")[0]
        sides[np.isin(rows, of_side)] = side
        counts[side] = counts.get(side, 0) + len(of_side)
    leaked = {kind: values[rows] for kind, values in data.leaked.items()}
    return DataOverview(
        source,
        data.columns,
        [data.key(row) for row in rows.tolist()],
        _no_texts(len(rows)) if texts is None else pl.Series(texts, dtype=pl.List(pl.String)),
        scans,
        len(chosen) < len(data),
        Division(sides, leaked, {}),
        not data.split_here,
        {name: replace(label, values=label.values[rows]) for name, label in data.labels.items()},
        data.refused,
        Ledger().frame,
        towers,
        (lambda row, side: data.shown(int(rows[row]), side))
        if isinstance(data, PictureData)
        else _no_picture,
        data.attribution,
        {title: values for title, values in data.describe().items() if isinstance(values, Mapping)},
        len(data),
        counts,
        len(rows) < len(data),
        pairs=() if len(data.shards) else pairs_in_data(data),
    )


def _within(ledger: pl.DataFrame) -> pl.DataFrame:
    """Return a ledger whose files are named from the folder that holds them all."""
    folders = {os.path.dirname(file) for file in ledger["file"].unique() if file}
    if not folders or (not all(map(os.path.isabs, folders)) and any(map(os.path.isabs, folders))):
        return ledger
    home = os.path.commonpath(folders)
    return ledger.with_columns(pl.col("file").str.strip_prefix(f"{home}/"))


def _chosen(rows: Int[np.ndarray, " n"], sample: int | None) -> Int[np.ndarray, " m"]:
    """Choose rows to look at, the same ones every time."""
    if sample is None or sample >= len(rows):
        return rows
    return np.sort(np.random.default_rng(_SAMPLE_SEED).choice(rows, sample, replace=False))


def _reads(files: Sequence[Asset], modality: Modality) -> Iterator[FileScan]:
    """Read files that are no pictures, such as sounds, as data reads them; they stay read for training."""
    decoded = DecodedExamples(files, modality.name, modality.form)
    lengths = decoded.lengths / (modality.form if modality.unit == "seconds" else 1)
    if modality.count is not None:
        count = resolve(modality.count)
        readable = (position not in decoded.unreadable for position in range(len(files)))
        counts = [
            count(file.read_bytes()) if there else 0 for file, there in zip(files, readable, strict=True)
        ]
        lengths = np.array(counts, dtype=float)
    for position, digest in enumerate(decoded.digests):
        reason, _, detail = decoded.unreadable.get(position, "").partition(": ")
        broken = (reason, detail) if reason else None
        flat = broken is None and decoded.is_flat(position)
        yield FileScan(-1, bytes.fromhex(digest), broken=broken, length=float(lengths[position]), flat=flat)


def _together(values: Sequence[object], rows: Sequence[int]) -> list[list[int]]:
    sets: dict[object, list[int]] = {}
    for value, row in zip(values, rows, strict=True):
        sets.setdefault(value, []).append(row)
    return sorted((members for members in sets.values() if len(members) > 1), key=lambda s: (-len(s), s))


def _no_texts(rows: int) -> pl.Series:
    return pl.Series([[]] * rows, dtype=pl.List(pl.String))


def _no_picture(row: int, side: int) -> Image.Image:
    raise LookupError("the data has no pictures")
