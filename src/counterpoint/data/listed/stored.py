"""A user's own files as data: what is there, what was left out, how the rows are divided and classified."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, Self, final

import numpy as np
import polars as pl
from jaxtyping import Int

from ...modalities import MODALITIES
from ...networks.base import FormedInput, Input
from ...reasons import counted
from ...registry import unknown
from ...types import Fit
from .. import sources
from ..base import Data, Rows, Splits
from ..cache import cache_folder, writing
from ..pictures.decode import MOST_PIXELS
from ..pictures.squares import Pictures
from ..pictures.traits import KeptTraits
from ..replaced import Replaced
from ..sides import MOST_HELD_OUT, SIDES
from ..sources import BROKEN, Ledger, Records
from .classes import labels_of
from .decoded import Decoded
from .division import Division, Links, divide
from .stand_ins import StandIns

MOST = 5_000_000
"""Examples of which a process holds something for each; of more there must be an index."""


@dataclass(frozen=True)
class Report:
    """The facts that are worth knowing before training on somebody's files.

    Attributes:
        examples: how many there are on each side.
        left_out: the ledger's counts, by kind and reason, with the first entries of each.
        ledger: the file with all of them, None where nothing was left out.
        duplicates: by what is the same (``"picture"``, ``"caption"``), the rows beyond the first that have it.
        leaked: held-out rows that share a caption, a picture, a look, a group with a training row.
        notes: on how the splits were made, and on columns that were not taken as labels.
        caption_words: on average, least, most; None where there are no captions.
    """

    examples: Mapping[str, int]
    left_out: Mapping[str, str]
    ledger: Path | None
    duplicates: Mapping[str, int]
    leaked: Mapping[str, int]
    notes: Mapping[str, str]
    caption_words: tuple[float, int, int] | None

    def lines(self) -> dict[str, str]:
        """Return a title and a line for each."""
        leaks = ", ".join(f"{count:,} by {kind}" for kind, count in self.leaked.items() if count)
        captions = {}
        if self.caption_words is not None:
            mean, least, most = self.caption_words
            captions = {"caption words": f"{mean:.1f} on average, {least} to {most}"}
        ledger = {"all that was left out": str(self.ledger)} if self.ledger else {"left out": "none"}
        return {
            "examples": ", ".join(f"{side} {self.examples[side]}" for side in SIDES if side in self.examples),
            **self.notes,
            **captions,
            "duplicates": ", ".join(counted(count, what) for what, count in self.duplicates.items()),
            "leaked from training to held-out rows": f"{leaks}: scored apart" if leaks else "none",
            **self.left_out,
            **ledger,
        }


class Files(Protocol):
    """The examples of a column's files, by their positions.

    Attributes:
        digests: of each file's bytes; empty for a file that could not be read.
        unreadable: a file's position to why it is no example: a reason, a colon, and the details.
        whole: nothing of it can break any more.
    """

    digests: list[str]
    unreadable: dict[int, str]
    whole: bool

    def read(self, positions: Rows) -> Any:
        """Return the raw form of some files' examples."""
        ...

    def encoded(self, position: int) -> bytes:
        """Return the bytes of a file."""
        ...

    def formed(self, form: Any) -> Self:
        """Return the same examples read in another form."""
        ...


@final
@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of a column: of every row one or more, in one list of all."""

    all: pl.Series
    starts: Int[np.ndarray, " N"]

    @classmethod
    def of(cls, lists: pl.Series) -> Texts:
        """Return the texts of some lists."""
        starts = np.concatenate([[0], lists.list.len().to_numpy().cumsum(dtype=np.int64)])
        return cls(lists.explode().drop_nulls(), starts)

    def of_row(self, row: int) -> tuple[str, ...]:
        """Return the texts of a row."""
        start, end = self.starts[[row, row + 1]].tolist()
        return tuple(self.all[start:end].to_list())


class Stored(Data):
    """Rows whose columns are in a user's files: pictures, sounds, texts.

    Files are read once, into the cache folder, in the form that a tower asks for. A row that lacks one of the columns,
    or whose file is broken, is left out.

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
        OtherColumns: if rows of this kind have columns that are not there.
        TooMany: if there are more than `MOST` examples.
        ValueError: if there is no usable table, no row to test on, or more than that share of the examples is left out.
    """

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
        self.broken = broken
        records = read(str(source), ledger)
        if len(records) > MOST:
            raise TooMany(
                f"{self.name} has {len(records):,} examples, and more than {MOST:,} are not held one by one: index "
                f"them once, counterpoint data index {self.name!r} --out INDEX, and give --data INDEX"
            )
        self.columns = self.columns_of(source, records)
        records = self.complete(records, ledger)
        listed = ledger_file(Path(source))
        keep(ledger, listed)
        ledger.check(self.name, len(records), broken, listed)  # before files are read in vain
        files = {column: modality for column, modality in self.columns.items() if modality != "text"}
        places = {column: records.assets(column) for column in files}
        self._form: dict[str, Any] = {
            column: size if modality == "image" else MODALITIES.get(modality).form
            for column, modality in files.items()
        }
        with KeptTraits() as traits:
            self._files: dict[str, Files] = {
                column: Pictures(places[column], size, most_pixels=most_pixels, traits=traits, looks=looks)
                if modality == "image"
                else Decoded(places[column], modality, self._form[column])
                for column, modality in files.items()
            }
        self._forms: dict[object, Any] = {frozenset(self._form.items()): self}  # of this class
        for column, read_files in self._files.items():
            for position, said in sorted(read_files.unreadable.items()):
                reason, _, detail = said.partition(": ")
                ledger.add("lost", reason, places[column][position], detail=detail)
        keep(ledger, listed)
        lost = {position for read_files in self._files.values() for position in read_files.unreadable}
        self._row_of = np.delete(np.arange(len(records)), sorted(lost))
        records = records.with_frame(records.frame[self._row_of])
        ledger.check(self.name, len(records), broken, listed)
        if not len(records):
            raise ValueError(f"{source} holds no {self._called()}")
        digests = {column: pl.Series(it.digests)[self._row_of] for column, it in self._files.items()}
        self._digests = {column: [*map(bytes.fromhex, it)] for column, it in digests.items()}
        looked_at = self._digests.get("image", []) if looks else []
        hashes = [known.hash if (known := traits.get(it)) else None for it in looked_at]
        self._texts = {
            column: Texts.of(records.frame[column])
            for column, modality in self.columns.items()
            if modality == "text"
        }
        self.ids, self._keys = _identities(self.name, records)
        stated = records.frame["split"]
        self.split_here = stated.null_count() == len(stated)
        division = divide(stated.to_list(), links_of(records, digests, hashes), held_out)
        self.splits = _splits(self.name, division.sides, enough=len(self.columns) > 1)
        self._stand_ins = StandIns(self.splits.train, self.key)
        self.leaked, self.subsets = division.leaked, _subsets(division)
        self.labels, unlabelled = labels_of(records.labels())
        captions = self._texts["text"].all if "text" in self._texts else None
        same = {_one(records, column): of_column for column, of_column in digests.items()}
        same |= {} if captions is None else {"caption": captions}
        self.report = Report(
            examples=dict(Counter(division.sides.tolist())),
            left_out=ledger.counts(),
            ledger=listed if len(ledger.frame) else None,
            duplicates={what: len(values) - values.n_unique() for what, values in same.items()},
            leaked={kind: int(rows.sum()) for kind, rows in division.leaked.items()},
            notes={**division.notes, **unlabelled},
            caption_words=None if captions is None else _words(captions),
        )

    @abstractmethod
    def columns_of(self, source: str | Path, records: Records) -> Mapping[str, str]:
        """Return the columns to read of those that there are, each with its modality.

        Raises:
            OtherColumns: if one that must be there is not; the message says what was expected.
        """

    def complete(self, records: Records, ledger: Ledger) -> Records:
        """Return those of some records of the source that have something in every column.

        Args:
            records: as the source gives them.
            ledger: is told of the others.
        """
        first, *others = self.columns
        for column in (first, *others):
            having = records.having(column)
            lacking = f"{_one(records, first)} without a {_one(records, column)}" if column != first else ""
            for where in records.frame.filter(~having)["where"]:
                ledger.add("lost", lacking or f"no {_one(records, first)}", where)
            records = records.with_frame(records.frame.filter(having))
        return records

    def among(self, records: Records) -> Records:
        """Return those of the source's records that the rows are, in their order.

        Args:
            records: as the source gives them.
        """
        whole = self.complete(records, Ledger())
        return whole.with_frame(whole.frame[self._row_of])

    def read(self, column: str, rows: Rows) -> Any:
        if column in self._texts:
            return [self._texts[column].of_row(int(row))[0] for row in rows]
        if column in self._files:
            return self._files[column].read(self._row_of[np.asarray(rows)])
        raise unknown(f"column of {self.name}", column, self.columns)

    def read_training(self, column: str, rows: Rows) -> Any:
        files: Mapping[str, Any] = {}
        if not all(it.whole for it in self._files.values()):  # what is read anew may break
            rows, files = self._stand_ins.read(np.asarray(rows), self._of_files)
        if column in self._texts:
            return [self._texts[column].of_row(int(row)) for row in rows]
        return files[column] if column in files else self.read(column, rows)

    def _of_files(self, rows: Rows) -> dict[str, Any]:
        return {column: self.read(column, rows) for column in self._files}

    def replaced(self) -> list[Replaced]:
        return self._stand_ins.replaced()

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        suited = super().suited(inputs, training=training)
        forms = {column: it.form for column, it in inputs.items() if isinstance(it, FormedInput)}
        return suited.formed(forms)

    def formed(self, forms: Mapping[str, Any]) -> Self:
        """Return the same data with the files of some columns read in other forms; all else is shared.

        Args:
            forms: by column; see `counterpoint.networks.base.FormedInput`.
        """
        form = {**self._form, **{column: it for column, it in forms.items() if column in self._form}}
        key = frozenset(form.items())
        if key not in self._forms:
            other = self._forms[key] = copy(self)
            other._form = form
            other._files = {
                column: it if form[column] == self._form[column] else it.formed(form[column])
                for column, it in self._files.items()
            }
            other._stand_ins = StandIns(self.splits.train, self.key)
        return self._forms[key]

    def key(self, row: int) -> str:
        return str(self._keys[row])

    def _told_of(self, column: str) -> Iterator[bytes]:
        return iter(self._digests[column]) if column in self._digests else super()._told_of(column)

    def _digests_of(self, column: str) -> list[bytes]:
        return self._digests[column] if column in self._digests else super()._digests_of(column)

    def _called(self) -> str:
        """Return what rows are called."""
        nouns = [MODALITIES.get(modality).noun for modality in self.columns.values()]
        return "pairs" if len(nouns) > 1 else nouns[0]

    def describe(self) -> dict[str, dict[str, Any]]:
        return super().describe() | {"report": self.findings()}

    def findings(self) -> dict[str, str]:
        return self.report.lines()


class TooMany(ValueError):
    """The error for more examples than are held one by one."""


class OtherColumns(ValueError):
    """The error for files that have other columns than rows of a kind must have."""


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


def _one(records: Records, column: str) -> str:
    """Return what one example of a column is called."""
    return "caption" if column == "text" else MODALITIES.get(records.columns[column]).one


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


def links_of(
    records: Records, digests: Mapping[str, pl.Series], hashes: Sequence[bytes | None]
) -> list[Links]:
    """Return what binds rows: one group, one caption, one picture, one sound, one look.

    Args:
        records: all of them.
        digests: of their files by column, null for one that was not read.
        hashes: of how they look, None for one that is not known.
    """
    looks = Links.of_looks(hashes)
    group = records.frame["group"]
    return [
        *([] if group.is_null().all() else [Links.of("group", group)]),
        *([Links.of_captions(records.frame["text"])] if records.having("text").any() else []),
        *(Links.of(_one(records, column), of_column) for column, of_column in digests.items()),
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
