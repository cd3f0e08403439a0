"""Pictures of a user's own files: what is there, what was left out, how the rows are divided and classified."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from ..reasons import counted
from ..types import Fit
from . import sources
from .base import Pictured, Rows, Splits, stored_size
from .cache import cache_folder, writing
from .classes import labels_of
from .decode import MOST_PIXELS
from .division import Division, Links, divide
from .pictures import Pictures
from .replaced import Replaced
from .sides import MOST_HELD_OUT, SIDES
from .sources import BROKEN, Ledger, Records
from .stand_ins import StandIns
from .traits import KeptTraits

MOST = 5_000_000
"""Examples of which a process holds something for each; of more there must be an index."""


@dataclass(frozen=True)
class Report:
    """The facts that are worth knowing before training on somebody's files.

    Attributes:
        examples: how many there are on each side.
        left_out: the ledger's counts, by kind and reason, with the first entries of each.
        ledger: the file with all of them, None where nothing was left out.
        duplicate_pictures, duplicate_captions: rows beyond the first that have the same.
        leaked: held-out rows that share a caption, a picture, a look, a group with a training row.
        notes: on how the splits were made, and on columns that were not taken as labels.
        caption_words: on average, least, most; None where there are no captions.
    """

    examples: Mapping[str, int]
    left_out: Mapping[str, str]
    ledger: Path | None
    duplicate_pictures: int
    duplicate_captions: int
    leaked: Mapping[str, int]
    notes: Mapping[str, str]
    caption_words: tuple[float, int, int] | None

    def lines(self) -> dict[str, str]:
        """Return a title and a line for each."""
        leaks = ", ".join(f"{count:,} by {kind}" for kind, count in self.leaked.items() if count)
        captions, duplicates = {}, [counted(self.duplicate_pictures, "picture")]
        if self.caption_words is not None:
            mean, least, most = self.caption_words
            captions = {"caption words": f"{mean:.1f} on average, {least} to {most}"}
            duplicates.append(counted(self.duplicate_captions, "caption"))
        ledger = {"all that was left out": str(self.ledger)} if self.ledger else {"left out": "none"}
        return {
            "examples": ", ".join(f"{side} {self.examples[side]}" for side in SIDES if side in self.examples),
            **self.notes,
            **captions,
            "duplicates": ", ".join(duplicates),
            "leaked from training to held-out rows": f"{leaks}: scored apart" if leaks else "none",
            **self.left_out,
            **ledger,
        }


class WithoutCaptions(ValueError):
    """The error for pictures alone where pairs are asked for."""


class Stored(Pictured):
    """Pictures from files, as `Pairs` and `Photos` read them.

    Pictures are decoded once, into the cache folder, to squares of 64 pixels (shorter side, centre crop) or of the
    form that a tower asks for.

    Args:
        source: the folder or the table.
        size: side of the stored pictures, or the way to them that a tower asks for.
        broken: share of the examples that may be left out, for whatever reason; one always may.
        read: reads the source as records.
        name: of the data; the source unless given.
        attribution: the licence line that stands wherever examples are shown.
        looks: pictures that look alike stay in one split, for which each is hashed once.
        held_out: the most rows of validation and of test, each, where the splits are made here.
        most_pixels: of a picture; one of more is broken.

    Raises:
        WithoutCaptions: if there are pictures alone, and rows must have captions.
        ValueError: if there is no usable table, no row to test on, more than `MOST` examples, or more than that share
            of them is left out.
    """

    captioned: ClassVar[bool]
    """True where every row has captions."""

    def __init__(
        self,
        source: str | Path,
        size: int | Fit = 64,
        broken: float = BROKEN,
        *,
        read: sources.Reader = sources.read,
        name: str = "",
        attribution: str = "",
        looks: bool = True,
        held_out: int = MOST_HELD_OUT,
        most_pixels: int = MOST_PIXELS,
    ) -> None:
        self.name, self.attribution, ledger = name or str(source), attribution, Ledger()
        self.broken, self.most_pixels = broken, most_pixels
        records = read(str(source), ledger)
        if len(records) > MOST:
            raise ValueError(
                f"{self.name} has {len(records):,} examples, and more than {MOST:,} are not held one by one: index "
                f"them once, counterpoint data index {self.name!r} --out INDEX, and give --data INDEX"
            )
        if self.captioned and len(records) and not records.having("text").any():
            raise WithoutCaptions(
                f"{source} holds pictures without captions: give a metadata.csv (or .jsonl, .parquet) with columns "
                "file_name and text (--columns text=NAME names another), or a .txt beside each; without them they can "
                f"be embedded and searched (counterpoint embed MODEL {source})"
            )
        if self.captioned:
            records = _with_captions(records, ledger)
        listed = ledger_file(Path(source))
        keep(ledger, listed)
        ledger.check(self.name, len(records), broken, listed)  # before pictures are read in vain
        pictures = records.assets("image")
        with KeptTraits() as traits:
            self._pictures = Pictures(pictures, size, traits=traits, looks=looks, most_pixels=most_pixels)
        self._forms: dict[int | Fit, Any] = {size: self}  # of this class
        for position, said in sorted(self._pictures.unreadable.items()):
            reason, _, detail = said.partition(": ")
            ledger.add("lost", reason, pictures[position], detail=detail)
        keep(ledger, listed)
        self._row_of = np.delete(np.arange(len(records)), list(self._pictures.unreadable))
        records = records.with_frame(records.frame[self._row_of])
        ledger.check(self.name, len(records), broken, listed)
        if not len(records):
            raise ValueError(f"{source} holds no {'pairs' if self.captioned else 'pictures'}")
        digests = pl.Series(self._pictures.digests)[self._row_of]
        self._digests = [bytes.fromhex(digest) for digest in digests]
        hashes = [known.hash if looks and (known := traits.get(it)) else None for it in self._digests]
        captions = _captions(records)
        self._texts = captions.explode().drop_nulls()  # of a picture without captions
        self._starts = np.concatenate([[0], captions.list.len().to_numpy().cumsum(dtype=np.int64)])
        self.ids, self._keys = _identities(self.name, records)
        stated = records.frame["split"]
        self.split_here = stated.null_count() == len(stated)
        division = divide(stated.to_list(), links_of(records, digests, hashes), held_out)
        self.splits = _splits(self.name, division.sides, enough=self.captioned)
        self._stand_ins = StandIns(self.splits.train, self.key)
        self.leaked, self.subsets = division.leaked, _subsets(division)
        self.labels, unlabelled = labels_of(records.labels())
        self.report = Report(
            examples=dict(Counter(division.sides.tolist())),
            left_out=ledger.counts(),
            ledger=listed if len(ledger.frame) else None,
            duplicate_pictures=len(digests) - digests.n_unique(),
            duplicate_captions=len(self._texts) - self._texts.n_unique(),
            leaked={kind: int(rows.sum()) for kind, rows in division.leaked.items()},
            notes={**division.notes, **unlabelled},
            caption_words=_words(self._texts),
        )

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        return self._pictures.images(self._row_of[np.asarray(rows)])

    def read_training(self, column: str, rows: Rows) -> Any:
        if self._pictures.whole:  # nothing of it can break
            return super().read_training(column, rows)
        rows, pictures = self._stand_ins.read(np.asarray(rows), self.images)
        return pictures if column == "image" else super().read_training(column, rows)

    def replaced(self) -> list[Replaced]:
        return self._stand_ins.replaced()

    def encoded(self, row: int) -> bytes:
        return self._pictures.encoded(int(self._row_of[row]))

    def among(self, records: Records) -> Records:
        """Return those of the source's records that the rows are, in their order.

        Args:
            records: as the source gives them.
        """
        captioned = _with_captions(records, Ledger()) if self.captioned else records
        return captioned.with_frame(captioned.frame[self._row_of])

    def shown(self, row: int, side: int) -> Image.Image:
        return self._pictures.shown(int(self._row_of[row]), side)

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        side = stored_size(image_size)
        return self._formed(side if fit is None else fit.uncut(side))

    def fitted(self, fit: Fit) -> Self:
        return self._formed(fit)

    def _formed(self, form: int | Fit) -> Self:
        if form not in self._forms:
            other = self._forms[form] = copy(self)
            other._pictures = self._pictures.formed(form)
            other._stand_ins = StandIns(self.splits.train, self.key)
        return self._forms[form]

    def key(self, row: int) -> str:
        return str(self._keys[row])

    def picture_digests(self) -> Sequence[bytes]:
        return self._digests

    def describe(self) -> dict[str, dict[str, Any]]:
        return super().describe() | {"report": self.findings()}

    def findings(self) -> dict[str, str]:
        return self.report.lines()


def ledger_file(source: Path) -> Path:
    """Return the place of a source's ledger in the cache folder."""
    whole = blake2b(str(source.absolute()).encode(), digest_size=4).hexdigest()
    plain = re.sub(r"[^\w.-]+", "-", source.name)
    return cache_folder() / "left-out" / f"{plain}-{whole}.csv"


def keep(ledger: Ledger, path: Path) -> None:
    """Write a ledger to its file; an empty one leaves no file."""
    if len(ledger.frame):
        with writing(path) as part:
            ledger.write(part)
    else:
        path.unlink(missing_ok=True)


def _with_captions(records: Records, ledger: Ledger) -> Records:
    """Leave out what has no caption where others have: one folder of several has pictures alone."""
    captioned = records.having("text")
    for where in records.frame.filter(~captioned)["where"]:
        ledger.add("lost", "picture without a caption", where)
    return records.with_frame(records.frame.filter(captioned))


def _captions(records: Records) -> pl.Series:
    """Return the list of captions of every record; an empty one where it has none."""
    if "text" in records.columns:
        return records.frame["text"]
    return pl.Series([[]] * len(records), dtype=pl.List(pl.String))


def _identities(name: str, records: Records) -> tuple[Int[np.ndarray, " N"], pl.Series]:
    """Return an integer a row, and what the user calls it: an id, or else the picture's name.

    Ids that are whole numbers of at most 64 bits stay as they are; of others, a hash is taken.
    """
    stated, keys = records.frame["id"], records.frame["key"]
    if stated.null_count() == len(stated):
        return np.arange(len(stated)), keys
    numbers = stated.cast(pl.Int64, strict=False)
    if (numbers.cast(pl.String) == stated).fill_null(False).all():
        return numbers.to_numpy(), keys
    hashes = [int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) >> 1 for key in keys]
    if len(set(hashes)) < len(hashes):
        twice = keys.filter(keys.is_duplicated())[0]
        raise ValueError(f"{name}: two rows are called {twice!r}; give every row an id of its own")
    return np.asarray(hashes, dtype=np.int64), keys


def links_of(records: Records, digests: pl.Series, hashes: Sequence[bytes | None]) -> list[Links]:
    """Return what binds rows: one group, one caption, one picture, one look.

    Args:
        records: all of them.
        digests: of their pictures, null for one that was not read.
        hashes: of how they look, None for one that is not known.
    """
    looks = Links.of_looks(hashes)
    group = records.frame["group"]
    return [
        *([] if group.is_null().all() else [Links.of("group", group)]),
        *([Links.of_captions(records.frame["text"])] if records.having("text").any() else []),
        Links.of("picture", digests),
        *([looks] if len(looks.rows) or looks.too_many else []),
    ]


def _subsets(division: Division) -> np.ndarray:
    """Return ``"leaked"`` and ``"clean"`` for held-out rows, or ``"all"`` for every row where nothing leaked."""
    leaked = np.any(list(division.leaked.values()), axis=0)
    if not leaked.any():
        return np.full(len(leaked), "all")
    return np.where(division.sides == "train", "training", np.where(leaked, "leaked", "clean"))


def _splits(name: str, sides: np.ndarray, *, enough: bool) -> Splits:
    """Return the rows of every side; refuse too few to choose a model by and to test it, where there must be enough."""
    rows = {side: np.flatnonzero(sides == side) for side in SIDES}
    counts = {side: len(of_side) for side, of_side in rows.items()}
    if enough and (not counts["test"] or (counts["train"] and not counts["validation"])):
        empty = "validation" if counts["test"] else "test"
        raise ValueError(
            f"{name}: the split {empty!r} is empty ({counts}); give a 'split' column with train, validation and test, "
            "or none at all"
        )
    held_out = {"held out": rows["validation"]} if counts["validation"] else {}
    return Splits(rows["train"], held_out, {"held out": rows["test"]})


def _words(captions: pl.Series) -> tuple[float, int, int] | None:
    """Return how many words captions have: on average, least, most."""
    if not len(captions):
        return None
    words = captions.str.count_matches(r"\S+").to_numpy()
    return float(words.mean()), int(words.min()), int(words.max())
