"""Sources joined to one data set: the union of their columns, a label that says where a row is from, fixed shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self, final

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Int

from ...frames import Frames
from ...networks.base import Input
from ...registry import unknown
from ...types import Fit
from ..base import Data, Rows, Splits
from ..fingerprint import ROW_SCHEMA, Fingerprint, digest
from ..labels import Classes, Label
from ..replaced import Replacement
from .joined import joined_label, joined_raw, joined_texts
from .mixture import MixtureComponent

SOURCE = "source"
"""The label that says which source a row is from."""


@final
class MixedData(Data):
    """Sources as one: their columns together, each with a fixed share of every batch.

    A source that lacks a column leaves a gap in its rows (`Data.present`). Columns of one name are one column. Test and
    validation sets stay apart by source (``emoji: held out``), so that every number is of one source; the label
    ``source`` says where a row is from, and other labels of one name are one label. The id of a row follows from its
    source's place and its id there, so that it stays when another source grows.

    Args:
        sources: what is joined, in this order.
        shares: of each, above 0, of every batch; equal ones unless given.
        by: ``"steps"`` for batches of one source each, as many of each as its share says, in place of a share of every
            batch.
        name: of the whole; the names of the sources unless given.

    Raises:
        ValueError: for fewer than two sources, shares that are not one a source, a column of two modalities, a source
            that is read shard by shard or comes in tasks, and one with nothing to train on where others have something.

    >>> from counterpoint.data.synthetic.digits import Digits
    >>> both = MixedData([Digits(), Digits()], shares=[0.75, 0.25])
    >>> dict(both.columns), both.labels["source"].names, list(both.splits.test)
    ({'image': 'image', 'text': 'text'}, ('digits', 'digits 2'), ['digits: held out', 'digits 2: held out'])
    """

    def __init__(
        self,
        sources: Sequence[Data],
        shares: Sequence[float] | None = None,
        *,
        by: Literal["batch", "steps"] = "batch",
        name: str = "",
    ) -> None:
        if len(sources) < 2:
            raise ValueError(f"a mixture needs two sources or more, got {len(sources)}")
        shares = [1 / len(sources)] * len(sources) if shares is None else list(shares)
        if len(shares) != len(sources) or min(shares) <= 0:
            raise ValueError(f"shares={shares} must be one above 0 for each of the {len(sources)} sources")
        self.sources, self.called = tuple(sources), _called(sources)
        for source in sources:
            _check(source)
        self.columns = _columns(sources)
        self.name = name or " + ".join(source.name for source in sources)
        self._starts = np.cumsum([0, *map(len, sources)])
        self.ids = _ids(sources)
        self.splits = self._joined(shares, by)
        self.split_here = any(source.split_here for source in sources)
        self.broken = max(source.broken for source in sources)
        self.attribution = "; ".join(dict.fromkeys(filter(None, (it.attribution for it in sources))))
        self.refused = {name: why for source in sources for name, why in source.refused.items()}
        kinds = dict.fromkeys(kind for source in sources for kind in source.leaked)
        self.leaked = {
            kind: np.concatenate([it.leaked.get(kind, np.zeros(len(it), dtype=bool)) for it in sources])
            for kind in kinds
        }

    @classmethod
    def of(cls, parts: Sequence[MixtureComponent], sources: Sequence[Data], name: str) -> MixedData:
        """Return sources joined as a user wrote it.

        Raises:
            ValueError: for shares that are more than the whole, or leave others nothing, and for two ways to mix.
        """
        ways = dict.fromkeys(part.by for part in parts if part.by)
        if len(ways) > 1:
            raise ValueError(f"{name!r}: by={' and by='.join(ways)} cannot both be; give one")
        by: Any = next(iter(ways), "batch")
        stated = [part.share for part in parts if part.share is not None]
        left, others = 1 - sum(stated), len(parts) - len(stated)
        if (others and left <= 1e-9) or (not others and abs(left) > 1e-9):
            raise ValueError(
                f"{name!r}: the shares make {sum(stated):g}; of all sources they make 1, and leave those without one "
                "a part of it"
            )
        shares = [left / others if part.share is None else part.share for part in parts]
        return cls(sources, shares, by=by, name=name)

    def check_splits(self) -> None:
        for source in self.sources:
            source.check_splits()

    def _joined(self, shares: Sequence[float], by: Literal["batch", "steps"]) -> Splits:
        """Return the splits of the whole."""
        train = [source.splits.train + start for start, source in self._numbered()]
        if any(map(len, train)) and not all(map(len, train)):
            empty = next(name for name, rows in zip(self.called, train, strict=True) if not len(rows))
            raise ValueError(f"{empty} has nothing to train on: it cannot have a share of the batches")
        # Spread over each other, so that the first rows that somebody looks at are of all sources.
        within = np.concatenate([np.linspace(0, 1, len(rows)) for rows in train])
        validation, test = (
            {
                f"{name}: {split}": rows + start
                for (start, _), name, held_out in zip(self._numbered(), self.called, of_each, strict=True)
                for split, rows in held_out.items()
            }
            for of_each in (
                [source.splits.validation for source in self.sources],
                [source.splits.test for source in self.sources],
            )
        )
        mixed = np.concatenate(train)[np.argsort(within, kind="stable")]
        mixing = list(zip(train, shares, strict=True)) if len(mixed) else []
        return Splits(mixed, validation, test, sources=mixing, by=by)

    def _numbered(self) -> Iterator[tuple[int, Data]]:
        """Yield every source with the number of its first row."""
        yield from zip(self._starts[:-1].tolist(), self.sources, strict=True)

    def _source_and_row(self, row: int) -> tuple[int, int]:
        """Return the source of a row, and the row's number there."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return number, int(row - self._starts[number])

    @cached_property
    def subsets(self) -> np.ndarray:
        return np.concatenate([np.asarray(source.subsets, dtype=str) for source in self.sources])

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        # What one of them calls its source is something else, and is named after it.
        of_each = [
            {f"{called} {name}" if name == SOURCE else name: labels for name, labels in source.labels.items()}
            for called, source in zip(self.called, self.sources, strict=True)
        ]
        sizes = [len(source) for source in self.sources]
        joined = {
            name: joined_label([it.get(name) for it in of_each], sizes, f"{self.name}: the label {name}")
            for name in dict.fromkeys(name for labels in of_each for name in labels)
        }
        return {**joined, SOURCE: Classes(self.called, np.repeat(np.arange(len(sizes)), sizes), ())}

    def metadata(self, rows: Rows) -> Mapping[str, pl.Series]:
        def of_each() -> Iterator[tuple[Int[np.ndarray, " _"], dict[str, pl.Series]]]:
            numbers = self._numbers(rows)
            for number, (start, source) in enumerate(self._numbered()):
                positions = np.flatnonzero(numbers == number)
                texts = source.metadata(np.asarray(rows)[positions] - start)
                # A label of another source may have the name, and is then something else.
                called = {name: f"{self.called[number]} {name}" for name in texts if name in self.labels}
                yield positions, {called.get(name, name): it for name, it in texts.items()}

        return joined_texts(of_each(), len(rows))

    def key(self, row: int) -> str:
        number, source_row = self._source_and_row(row)
        return f"{self.called[number]}/{self.sources[number].key(source_row)}"

    def read(self, column: str, rows: Rows) -> Any:
        return self._gathered(column, rows, lambda source, source_rows: source.read(column, source_rows), "")

    def read_training(self, column: str, rows: Rows) -> Any:
        return self._gathered(
            column, rows, lambda source, source_rows: source.read_training(column, source_rows), [""]
        )

    def file(self, column: str, row: int) -> tuple[str, bytes]:
        number, source_row = self._source_and_row(row)
        return self.sources[number].file(column, source_row)

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        number, source_row = self._source_and_row(row)
        source = self.sources[number]
        return source.evaluation_texts(column, source_row) if column in source.columns else ()

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        there = np.zeros(len(rows), dtype=bool)
        for source, places, source_rows in self._parts(rows):
            if column in source.columns:
                there[places] = source.present(column, source_rows)
        return there

    def cuts(self, column: str, rows: Rows) -> Frames:
        cuts = super().cuts(column, rows).clone()
        for source, places, source_rows in self._parts(rows):
            if column in source.columns:
                cuts[torch.from_numpy(places)] = source.cuts(column, source_rows)
        return cuts

    def replaced(self) -> list[Replacement]:
        return [
            replace(one, row=start + one.row)
            for start, source in self._numbered()
            for one in source.replaced()
        ]

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        return self._of(
            [
                source.suited({c: it for c, it in inputs.items() if c in source.columns}, training=training)
                for source in self.sources
            ]
        )

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        return self._of([source.sized(image_size, fit) for source in self.sources])

    def _of(self, sources: Sequence[Data]) -> Self:
        """Return the same rows from sources whose raw forms are others; itself where none is."""
        if all(one is other for one, other in zip(sources, self.sources, strict=True)):
            return self
        other = copy(self)
        other.sources = tuple(sources)
        return other

    def _numbers(self, rows: Rows) -> Int[np.ndarray, " n"]:
        """Return the number of the source of every row."""
        return np.searchsorted(self._starts, rows, side="right") - 1

    def _parts(self, rows: Rows) -> Iterator[tuple[Data, Int[np.ndarray, " _"], Rows]]:
        """Yield the sources that some rows are from, with the rows' places among them and their numbers there."""
        rows = np.asarray(rows)
        numbers = self._numbers(rows)
        for number, (start, source) in enumerate(self._numbered()):
            places = np.flatnonzero(numbers == number)
            if len(places):
                yield source, places, rows[places] - start

    def _gathered(self, column: str, rows: Rows, read: Callable[[Data, Rows], Any], blank: Any) -> Any:
        """Return a column of some rows, each read from its source; what stands in a gap means nothing."""
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        parts = [
            (places, read(source, source_rows))
            for source, places, source_rows in self._parts(rows)
            if column in source.columns
        ]
        if not parts:  # no row has it: blanks are made in the image of one that has
            source = next(it for it in self.sources if column in it.columns)
            parts = [(np.arange(0), read(source, np.arange(1)))]
        return joined_raw(parts, len(rows), f"column {column!r} of {self.name}", blank)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Digests of the sources', part by part; the rows of all of them, where none is a world."""
        prints = [source.fingerprint for source in self.sources]
        names = dict.fromkeys(name for it in prints for name in it.parts)
        parts = {
            name: digest([self._mixing(), *(it.parts.get(name, "").encode() for it in prints)])
            for name in names
        }
        if not all(len(it.rows) for it in prints):
            return Fingerprint(parts, pl.DataFrame(schema=ROW_SCHEMA))
        rows = pl.concat([it.rows for it in prints], how="diagonal").with_columns(id=pl.Series(self.ids))
        checksums = [name for name in rows.columns if name not in ("id", "split")]
        return Fingerprint(parts, rows.with_columns(pl.col(checksums).fill_null(0)))

    def _digest_parts(self, columns: Iterable[str]) -> Iterator[bytes]:
        yield self._mixing()
        wanted = list(columns)
        for source in self.sources:
            yield source.identity([column for column in wanted if column in source.columns]).encode()

    def _mixing(self) -> bytes:
        """Return what tells the mixture from others of the same sources."""
        return repr((self.called, [share for _, share in self.splits.sources], self.splits.by)).encode()

    def describe(self) -> dict[str, dict[str, Any]]:
        shares = [share for _, share in self.splits.sources] or [0.0] * len(self.sources)
        of = "every batch" if self.splits.by == "batch" else "the steps"
        sources = {
            name: f"{len(source)} rows ({', '.join(source.columns)}), {share:.3g} of {of}"
            for name, source, share in zip(self.called, self.sources, shares, strict=True)
        }
        return super().describe() | {"sources": sources}

    def findings(self) -> Mapping[str, str]:
        return {
            f"{name}: {title}": line
            for name, source in zip(self.called, self.sources, strict=True)
            for title, line in source.findings().items()
        }


def _called(sources: Sequence[Data]) -> tuple[str, ...]:
    """Return what each source is called: its name, or the last part of its path; no two are called alike."""
    seen: Counter[str] = Counter()
    names = []
    for source in sources:
        name = Path(source.name.partition(",")[0]).name or source.name
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return tuple(names)


def _check(source: Data) -> None:
    """Refuse a source that cannot be mixed."""
    if len(source.shards):
        raise ValueError(
            f"{source.name} is read shard by shard, and sources that are mixed are read at random: mix it before it "
            "is written as shards"
        )
    if source.splits.tasks:
        raise ValueError(
            f"{source.name} comes in tasks, one after another, and cannot be mixed: leave it alone"
        )
    if source.splits.sources:
        raise ValueError(f"{source.name} is mixed already: name all of its sources in one mixture")


def _columns(sources: Sequence[Data]) -> dict[str, str]:
    """Return the columns of all sources, those of the first one first."""
    columns: dict[str, str] = {}
    for source in sources:
        for column, modality in source.columns.items():
            if columns.setdefault(column, modality) != modality:
                raise ValueError(
                    f"the column {column!r} is of {modality} in {source.name} and of {columns[column]} before it: "
                    "give it another name"
                )
    return columns


def _ids(sources: Sequence[Data]) -> Int[np.ndarray, " N"]:
    """Return an id a row: a hash of its source's place and its id there.

    Raises:
        ValueError: for two rows of one id, which a source has that is not sound.
    """
    ids = []
    for number, source in enumerate(sources):
        keys = [f"{number} {identity}".encode() for identity in np.asarray(source.ids).tolist()]
        ids += [int.from_bytes(blake2b(it, digest_size=8).digest(), "little") >> 1 for it in keys]
    whole = np.array(ids, dtype=np.int64)
    if len(np.unique(whole)) < len(whole):
        raise ValueError(
            f"two rows of {', '.join(it.name for it in sources)} have one id: every row needs its own"
        )
    return whole
