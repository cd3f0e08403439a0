"""A user's own files as data: what is there, what was left out, how the rows are divided and classified."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import polars as pl
from jaxtyping import Bool

from ...frames import Frames
from ...modalities import MODALITIES, PAIR, resolve
from ...networks.base import Input
from ...reasons import counted
from ...registry import unknown
from ...types import Fit
from .. import sources
from ..base import Data, Rows
from ..pictures.traits import TraitsCache
from ..reading.file_examples import ReadOptions, SizedExamples
from ..replaced import Replacement
from ..sides import SIDES
from ..sources import Asset, Ledger, Records, SourceOptions, ending_of
from .columns import Column, FileColumn, TextColumn, ValueColumn
from .division import divide
from .labels import labels_of, rare_notes, refusal_notes
from .ledgers import keep, ledger_file
from .report import LoadingReport
from .rows import identities, links_of, noun_of, splits, subsets
from .stand_ins import StandIns
from .words import Words

_NAMED = 3  # words that a line names
MOST = 5_000_000
"""Examples of which a process holds something for each; of more there must be an index."""


class StoredData(Data):
    """Rows whose columns are in a user's files: pictures, sounds, texts, values of a table.

    Files are read once, into the cache folder, in the form that a tower asks for. A row whose file is broken is left
    out; so is one that lacks everything, and, where rows are files with their captions, one that lacks either.

    Args:
        source: the folder or the table.
        size: side of the stored pictures, or the way to them that a tower asks for.
        options: the user's word on files, splits and labels; the usual ones unless given.
        read: reads the source as records.
        name: of the data; the source unless given.
        attribution: the licence line that stands wherever examples are shown.
        words: of the columns of values, by what they are called the categories of each, where other rows say which
            there are; those of the rows to train on unless given.

    Raises:
        OtherColumnsError: if rows of this kind have columns that are not there.
        TooManyExamplesError: if there are more than `MOST` examples.
        ValueError: if there is no usable table, a column that no row of a split has, or more than
            `SourceOptions.broken` of the examples are left out.
    """

    def __init__(
        self,
        source: str | Path,
        size: int | Fit = 64,
        options: SourceOptions | None = None,
        *,
        read: sources.Reader = sources.read,
        name: str = "",
        attribution: str = "",
        words: Mapping[str, Mapping[str, Sequence[str]]] = MappingProxyType({}),
    ) -> None:
        options = options or SourceOptions()
        self.name, self.attribution, ledger = name or str(source), attribution, Ledger()
        self.broken = options.broken
        records = read(str(source), ledger)
        if len(records) > MOST:
            raise TooManyExamplesError(
                f"{self.name} has {len(records):,} examples, and more than {MOST:,} are not held one by one: index "
                f"them once, counterpoint data index {self.name!r} --out INDEX, and give --data INDEX"
            )
        self.columns = self.columns_of(source, records)
        records = self.complete(records, ledger)
        listed = ledger_file(Path(source))
        keep(ledger, listed)
        ledger.check(self.name, len(records), self.broken, listed)  # before files are read in vain
        with TraitsCache() as traits:
            first = ReadOptions(size, options.groups_similar, options.max_pixels, traits)
            files = {column: _file_column(records, column, first) for column in self._held_as("files")}
        for column, shapes in _of_other_sizes(files, self.columns).items():
            files[column].files.unreadable.update(shapes)
        lost: set[int] = set()
        for column, of_column in files.items():
            places = records.frame[column]
            for row, (_, said) in of_column.unreadable.items():
                reason, _, detail = said.partition(": ")
                ledger.add("lost", reason, Asset(**places[row]), detail=detail)
                lost.add(row)
        keep(ledger, listed)
        self._row_of = np.delete(np.arange(len(records)), sorted(lost))
        records = records.with_frame(records.frame[self._row_of])
        ledger.check(self.name, len(records), self.broken, listed)
        if not len(records):
            raise ValueError(f"{source} holds no {self._called()}")
        self._columns: dict[str, Column] = {column: it[self._row_of] for column, it in files.items()}
        self._columns |= {
            column: TextColumn.of(records.frame[column], self.columns[column])
            for column in self._held_as("texts")
        }
        digests = {column: it.digests[self._row_of.tolist()] for column, it in files.items()}
        same_files = {
            column: it
            for column, it in digests.items()
            if not MODALITIES.get(self.columns[column]).located_in  # two pictures may well have equal maps
        }
        self._digests = {c: [bytes.fromhex(it or "") for it in of_column] for c, of_column in digests.items()}
        hashed = next((self._digests[column] for column, it in files.items() if it.files.hashed), [])
        hashes = (
            [known.hash if (known := traits.get(it)) else None for it in hashed]
            if options.groups_similar
            else []
        )
        self.ids, self._keys = identities(self.name, records)
        stated = records.frame["split"]
        self.split_here = stated.null_count() == len(stated)
        division = divide(stated.to_list(), links_of(records, same_files, hashes), options.held_out)
        self.splits = splits(division.sides)
        for column in self._held_as("values"):
            values = records.values(column)
            self._columns[column] = ValueColumn.of(
                values, words.get(column) or self._words_of(values, records)
            )
        self._refuse_gaping()
        self._together = frozenset(files)
        self._forms: dict[object, Any] = {
            (self._form_of(self._columns), self._together, self.learned): self
        }  # of this class
        self._stand_ins = StandIns(self.splits.train, self.key)
        self.leaked, self.subsets = division.leaked, subsets(division)
        texts_of = records.labels()
        self.labels, self.refused = labels_of(texts_of, options.numbers, options.least)
        # A refused point is two columns.
        some = {name: texts_of[name] for name in self.refused if name in texts_of}
        self._metadata = {name: texts for name, texts in some.items() if texts.null_count() < len(texts)}
        captions = records.frame["text"].explode().drop_nulls() if "text" in self.columns else None
        same = {noun_of(records, column): of_column.drop_nulls() for column, of_column in same_files.items()}
        same |= {} if captions is None else {"caption": captions}
        self.report = LoadingReport(
            examples=dict(Counter(division.sides.tolist())),
            left_out=ledger.counts(),
            ledger=listed if len(ledger.frame) else None,
            duplicates={what: len(values) - values.n_unique() for what, values in same.items()},
            leaked={kind: int(rows.sum()) for kind, rows in division.leaked.items()},
            notes={
                **division.notes,
                **refusal_notes(self.refused),
                **rare_notes({name: label.rare for name, label in self.labels.items()}),
                **self._unseen(),
            },
            caption_words=None if captions is None else _words(captions),
            columns={} if {*self.columns} <= {*PAIR} else self._column_notes(records),
        )

    def check_splits(self) -> None:
        counts = {side: self.report.examples.get(side, 0) for side in SIDES}
        # Rows of one column may have nothing to be tested on: they are learned from and embedded.
        if len(self.columns) == 1 or (counts["test"] and (counts["validation"] or not counts["train"])):
            return
        empty = "validation" if counts["test"] else "test"
        raise ValueError(
            f"{self.name}: the split {empty!r} is empty ({counts}); give a 'split' column with train, validation and "
            "test, or no such column and at least six rows"
        )

    def _held_as(self, form: str) -> list[str]:
        """Return the columns whose examples are files, texts or values."""
        return [column for column, modality in self.columns.items() if MODALITIES.get(modality).held == form]

    def _words_of(self, values: pl.DataFrame, records: Records) -> dict[str, tuple[str, ...]]:
        """Return the words of a column of values; where no row is trained on all rows say which there are."""
        where, train = records.frame["where"], self.splits.train
        rows = train if len(train) else np.arange(len(values))
        return {cells.name: Words.of(cells, where, rows).categories(cells.name) for cells in values}

    def _refuse_gaping(self) -> None:
        """Refuse a column that no row of a split has, in which nothing could be learned or asked.

        Raises:
            ValueError: naming it, and what to do.
        """
        for side, rows in self.splits.sides.items():
            for column in self.columns:
                if len(rows) and not self.present(column, rows).any():
                    raise ValueError(
                        f"{self.name}: no row of the split {side!r} has a value in the column {column} (of "
                        f"{counted(len(rows), 'row')}): divide the rows otherwise by a column 'split', or name the "
                        f"columns without it, for example --columns {' '.join(c for c in self.columns if c != column)}"
                    )

    def _unseen(self) -> dict[str, str]:
        """Return a line on the words of values that no training row has; nothing where there are none."""
        said = [
            f"{name}: {', '.join(f'{word} ({count:,})' for word, count in list(words.items())[:_NAMED])}"
            for it in self._columns.values()
            if isinstance(it, ValueColumn)
            for name, words in it.unseen.items()
        ]
        return {"categories of no training row, read as unknown": "; ".join(said)} if said else {}

    def _column_notes(self, records: Records) -> dict[str, str]:
        """Return what each column is, what it is made of, and how many rows lack it."""
        notes, rows = {}, np.arange(len(self))
        for column, modality in self.columns.items():
            made = " + ".join(records.headers.get(column, ()))
            lacking = int((~self.present(column, rows)).sum())
            gaps = f", lacking in {counted(lacking, 'row')}" if lacking else ""
            notes[column] = f"{MODALITIES.get(modality).noun}{f' of {made}' if made else ''}{gaps}"
        return notes

    @abstractmethod
    def columns_of(self, source: str | Path, records: Records) -> Mapping[str, str]:
        """Return the columns to read of those that there are, each with its modality.

        Raises:
            OtherColumnsError: if one that must be there is not; the message says what was expected.
        """

    def complete(self, records: Records, ledger: Ledger) -> Records:
        """Return those of some records of the source that are rows: with something in every column, or in any.

        Args:
            records: as the source gives them.
            ledger: is told of the others.
        """
        if records.gaps:
            anything = np.any([records.having(column).to_numpy() for column in self.columns], axis=0)
            for where in records.frame.filter(~pl.Series(anything, dtype=pl.Boolean))["where"]:
                ledger.add("passed over", "nothing in any column", where)
            return records.with_frame(records.frame.filter(pl.Series(anything, dtype=pl.Boolean)))
        first, *others = self.columns
        for column in (first, *others):
            having = records.having(column)
            lacking = (
                f"{noun_of(records, first)} without a {noun_of(records, column)}" if column != first else ""
            )
            for where in records.frame.filter(~having)["where"]:
                ledger.add("lost", lacking or f"no {noun_of(records, first)}", where)
            records = records.with_frame(records.frame.filter(having))
        return records

    def among(self, records: Records) -> Records:
        """Return those of the source's records that the rows are, in their order.

        Args:
            records: as the source gives them.
        """
        whole = self.complete(records, Ledger())
        return whole.with_frame(whole.frame[self._row_of])

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return self.column(column).present(np.asarray(rows))

    def read(self, column: str, rows: Rows) -> Any:
        rows = np.asarray(rows)
        return self._cut(column, rows, self.column(column).read(rows))

    def file(self, column: str, row: int) -> tuple[str, bytes]:
        of_column = self.column(column)
        if isinstance(of_column, FileColumn):
            data = of_column.encoded(row)
            if ending := ending_of(data):
                return ending, data
        return super().file(column, row)

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        texts = self.column(column)
        return texts.of_row(row) if isinstance(texts, TextColumn) else super().evaluation_texts(column, row)

    def read_training(self, column: str, rows: Rows) -> Any:
        of_column = self.column(column)
        rows, files = self._standing(column, rows)
        raw = files[column] if column in files else of_column.read_training(rows)
        return self._cut(column, rows, raw)

    def _cut(self, column: str, rows: Rows, raw: Any) -> Any:
        """Return what is said of whole pictures of some rows as it is in the squares that stand for these."""
        modality = MODALITIES.get(self.columns[column])
        pictures = next((name for name, it in self.file_columns.items() if it.files.squares), None)
        if modality.cut is None or pictures is None:
            return raw
        of_pictures = self.file_columns[pictures]
        return resolve(modality.cut)(raw, of_pictures.files.cuts(of_pictures.at[rows]))

    def cuts(self, column: str, rows: Rows) -> Frames:
        of_column = self.column(column)
        if not isinstance(of_column, FileColumn):
            return super().cuts(column, rows)
        rows, _ = self._standing(column, rows)
        return of_column.files.cuts(of_column.at[rows])

    def _standing(self, column: str, rows: Rows) -> tuple[Rows, Mapping[str, Any]]:
        """Return the rows that stand for some in training, and those of their files that were read to find them."""
        rows, together = np.asarray(rows), self.read_with(column)
        if all(it.files.whole for it in together.values()):
            return rows, {}
        return self._stand_ins.read(rows, together)  # what is read anew may break

    def column(self, name: str) -> Column:
        """Return a column.

        Raises:
            UnknownNameError: for one that the data does not have.
        """
        if name not in self._columns:
            raise unknown(f"column of {self.name}", name, self.columns)
        return self._columns[name]

    @property
    def file_columns(self) -> dict[str, FileColumn]:
        """The columns of files."""
        return {column: it for column, it in self._columns.items() if isinstance(it, FileColumn)}

    def read_with(self, column: str) -> dict[str, FileColumn]:
        """Return the columns of files that are read for training when one is: all that the towers take, and itself."""
        return {
            name: it for name, it in self.file_columns.items() if name in self._together or name == column
        }

    def replaced(self) -> list[Replacement]:
        return self._stand_ins.replaced()

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        files = {column: it for column, it in self.file_columns.items() if column in inputs}
        forms = {c: it.files.form_for(inputs[c], training=training) for c, it in files.items()}
        return self.formed(forms, frozenset(files))

    def formed(self, forms: Mapping[str, Any], together: frozenset[str] | None = None) -> Self:
        """Return the same data with the files of some columns read in other forms; all else is shared.

        Args:
            forms: by column; see `counterpoint.data.reading.file_examples.FileExamples`; none that is None.
            together: the columns whose files are read together for training; those of before unless given.
        """
        wanted = {column: form for column, form in forms.items() if form is not None}
        for column, it in self.file_columns.items():
            pictures = MODALITIES.get(self.columns[column]).located_in
            if it.files.squares and pictures in wanted:
                wanted[column] = wanted[pictures]
        together = self._together if together is None else together
        key = frozenset({**dict(self._form_of(self._columns)), **wanted}.items()), together, self.learned
        if key not in self._forms:
            other = self._forms[key] = copy(self)
            other._columns = self._columns | {
                c: it.formed(wanted.get(c)) for c, it in self.file_columns.items()
            }
            other._together = together
            other._stand_ins = StandIns(self.splits.train, self.key)
        return self._forms[key]

    @staticmethod
    def _form_of(columns: Mapping[str, Column]) -> frozenset[tuple[str, Any]]:
        return frozenset(
            (column, it.files.form) for column, it in columns.items() if isinstance(it, FileColumn)
        )

    def metadata(self, rows: Rows) -> Mapping[str, pl.Series]:
        return {name: texts[np.asarray(rows)] for name, texts in self._metadata.items()}

    def key(self, row: int) -> str:
        return str(self._keys[row])

    def _digest_parts_of(self, column: str) -> Iterator[bytes]:
        return iter(self._digests[column]) if column in self._digests else super()._digest_parts_of(column)

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


class TooManyExamplesError(ValueError):
    """The error for more examples than are held one by one."""


class OtherColumnsError(ValueError):
    """The error for files that have other columns than rows of a kind must have."""


def columns_there(records: Records) -> dict[str, str]:
    """Return the columns, each with its modality, that are read and of which some record has something."""
    return {c: it for c, it in records.columns.items() if it in MODALITIES and records.having(c).any()}


def _file_column(records: Records, column: str, options: ReadOptions) -> FileColumn:
    """Read the files of a column of those records that have one."""
    there = records.having(column)
    files = records.with_frame(records.frame.filter(there)).assets(column)
    return FileColumn.of(there.to_numpy(), files, records.columns[column], options)


def _of_other_sizes(files: Mapping[str, FileColumn], columns: Mapping[str, str]) -> dict[str, dict[int, str]]:
    """Return the files that are of another size than their pictures: by column, the position and the reason."""
    wrong: dict[str, dict[int, str]] = {}
    for column, it in files.items():
        pictures = files.get(MODALITIES.get(columns[column]).located_in)
        if pictures is None or not isinstance(it.files, SizedExamples):
            continue
        assert isinstance(pictures.files, SizedExamples)
        one = MODALITIES.get(columns[column]).one
        for at, of_picture in zip(it.at.tolist(), pictures.at.tolist(), strict=True):
            if at < 0 or of_picture < 0:
                continue
            (height, width), (tall, wide) = it.files.sizes[at], pictures.files.sizes[of_picture]
            if height and tall and (height, width) != (tall, wide):
                said = (
                    f"{one} of another size than its picture: {width} × {height} in place of {wide} × {tall}"
                )
                wrong.setdefault(column, {})[at] = said
    return wrong


def _words(captions: pl.Series) -> tuple[float, int, int] | None:
    """Return how many words captions have: on average, least, most."""
    if not len(captions):
        return None
    words = captions.str.count_matches(r"\S+").to_numpy()
    return float(words.mean()), int(words.min()), int(words.max())
