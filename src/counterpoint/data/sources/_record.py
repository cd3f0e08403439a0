"""The one form that every source is read into: records, with a cell for each column of the data."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import reduce
from itertools import islice
from types import MappingProxyType
from typing import Any, Self, final, overload

import polars as pl

from ...modalities import MODALITIES, PAIR
from ._files.asset import Asset

LABEL = "label: "
"""Beginning of the names of those columns of `Records.frame` that are the user's own, with whatever name."""
FOLDER = "folder"
"""The label that says which folder a file is in; it has as many classes as there are folders."""
PLACES = pl.Struct({"file": pl.String, "member": pl.String, "offset": pl.Int64, "size": pl.Int64})
"""Type of a column of assets in `Records.frame`: the attributes of `Asset`."""
TEXTS = pl.List(pl.String)
"""Type of a column of texts in `Records.frame`."""
VALUE = "value: "
"""Beginning of the names of those columns of `Records.frame` that are one of the data together: see `value_name`."""

Cell = Asset | tuple[str, ...] | Mapping[str, str] | None
"""The value of a column in a record: where its bytes are, its texts, its numbers and words by their names, or nothing:
a gap is normal."""

_FACTS = ("key", "id", "split", "group", "where")
_BLOCK = 20_000  # records that are Python objects at once


@final
@dataclass(frozen=True)
class Record:
    """One example.

    Attributes:
        cells: for each column of the data where its bytes are, or, of a column of texts, one or more texts, or of one
            of values these by their names; None, or no such entry, where the example has nothing there.
        key: what the user calls it: an id, a file's name.
        id: the id that the user gave, None where there is none.
        split: ``"train"``, ``"validation"``, ``"test"``, or None.
        group: what no split may part is of one group; None where an example is of none.
        labels: values by which it may be classified or filtered.
        where: the file and the row that it was read from, for messages.
    """

    cells: Mapping[str, Cell]
    key: str
    id: str | None = None
    split: str | None = None
    group: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


@final
class Records(Sequence[Record]):
    """Many records, column by column: a million take a tenth of the memory that as many objects would.

    Attributes:
        frame: a row a record: for each column of the data places (`PLACES`; null for a gap), lists of texts
            (`TEXTS`; empty for a gap), or several columns of values as text (`value_name`; null where there is none);
            ``key``, ``id``, ``split``, ``group``, ``where``; and `LABEL` and a name for each label, all as text.
        columns: the columns of the data, each with its modality, which says what they hold.
        headers: by column of the data the columns of the user's table that it is made of, where it is one of a table.
        gaps: records may lack some of the columns; else each is a file with its captions, and broken without either.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        columns: Mapping[str, str] = PAIR,
        headers: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        *,
        gaps: bool = False,
    ) -> None:
        self.columns, self.headers, self.gaps = MappingProxyType(dict(columns)), headers, gaps
        lacking = {name: kind for name, kind in _schema(columns).items() if name not in frame.columns}
        frame = frame.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in lacking.items())
        texts = [name for name, modality in columns.items() if _held(modality) == "texts"]
        self.frame = frame.with_columns(pl.col(name).fill_null([]) for name in texts)

    @classmethod
    def collect(
        cls, records: Iterable[Record], columns: Mapping[str, str] = PAIR, *, gaps: bool = False
    ) -> Self:
        """Read records block by block.

        Args:
            records: whose cells are of these columns.
            columns: of the data, each with its modality.
            gaps: records may lack some of them.
        """
        each, blocks = iter(records), [pl.DataFrame(schema=_schema(columns))]
        while block := list(islice(each, _BLOCK)):
            blocks.append(_frame(block, columns))
        return cls(pl.concat(blocks, how="diagonal"), columns, gaps=gaps)

    @classmethod
    def concat(cls, parts: Sequence[Records]) -> Self:
        """Put records one after the other; they have the columns that any of them has.

        Raises:
            ValueError: for a column of two modalities.
        """
        columns: dict[str, str] = {}
        headers: dict[str, tuple[str, ...]] = {}
        for part in parts:
            headers |= part.headers
            for name, modality in part.columns.items():
                if columns.setdefault(name, modality) != modality:
                    raise ValueError(
                        f"the column {name} holds {columns[name]} in one part, {modality} in another"
                    )
        empty = pl.DataFrame(schema=_schema(columns))
        whole = pl.concat([empty, *(part.frame for part in parts)], how="diagonal")
        return cls(whole, columns, headers, gaps=any(part.gaps for part in parts))

    def having(self, column: str) -> pl.Series:
        """Return which records have something in a column of the data; none have where there is no such column."""
        if column not in self.columns:
            return pl.repeat(False, len(self), eager=True)
        if _held(self.columns[column]) == "values":
            values = self.values(column)
            known = [values[name].is_not_null() for name in values.columns]
            return reduce(operator.or_, known, pl.repeat(False, len(self), eager=True))
        cells = self.frame[column]
        return cells.list.len() > 0 if cells.dtype == TEXTS else cells.struct.field("file").is_not_null()

    def with_frame(self, frame: pl.DataFrame) -> Records:
        """Return other rows of the same columns."""
        return Records(frame, self.columns, self.headers, gaps=self.gaps)

    def values(self, column: str) -> pl.DataFrame:
        """Return the values of a column that holds such, by their names, as text."""
        start = value_name(column, "")
        names = [name for name in self.frame.columns if name.startswith(start)]
        return self.frame.select(pl.col(name).alias(name.removeprefix(start)) for name in names)

    def labels(self) -> dict[str, pl.Series]:
        """Return the columns by which records may be classified."""
        return {n.removeprefix(LABEL): self.frame[n] for n in self.frame.columns if n.startswith(LABEL)}

    def assets(self, column: str) -> Sequence[Asset]:
        """Return the places of a column that every record has something in, each made when it is asked for."""
        return _Assets(self.frame.select(pl.col(column).struct.unnest()))

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[Record]:
        return (self._record(values) for values in self.frame.iter_rows(named=True))

    @overload
    def __getitem__(self, position: int) -> Record: ...
    @overload
    def __getitem__(self, position: slice) -> Records: ...
    def __getitem__(self, position: int | slice) -> Record | Records:
        if isinstance(position, slice):
            return self.with_frame(self.frame[position])
        return self._record(self.frame.row(position, named=True))

    def _record(self, values: Mapping[str, Any]) -> Record:
        labels = {
            n.removeprefix(LABEL): v for n, v in values.items() if n.startswith(LABEL) and v is not None
        }
        cells = {name: _cell(name, modality, values) for name, modality in self.columns.items()}
        return Record(cells, **{name: values[name] for name in _FACTS}, labels=labels)


class _Assets(Sequence[Asset]):
    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __len__(self) -> int:
        return len(self._frame)

    def __iter__(self) -> Iterator[Asset]:
        return (Asset(*row) for row in self._frame.iter_rows())

    @overload
    def __getitem__(self, position: int) -> Asset: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Asset]: ...
    def __getitem__(self, position: int | slice) -> Asset | Sequence[Asset]:
        if isinstance(position, slice):
            return _Assets(self._frame[position])
        return Asset(*self._frame.row(position))


def _schema(columns: Mapping[str, str]) -> dict[str, Any]:
    if taken := sorted(name for name in columns if name in _FACTS or name.startswith((LABEL, VALUE))):
        raise ValueError(f"a column cannot be called {taken[0]!r}; give it another name")
    kinds = {"files": PLACES, "texts": TEXTS}
    held = {name: _held(modality) for name, modality in columns.items()}
    cells = {name: kinds[kind] for name, kind in held.items() if kind in kinds}
    return {**cells, **dict.fromkeys(_FACTS, pl.String)}


def value_name(column: str, name: str) -> str:
    """Return what the values of one name in a column of the data are called in `Records.frame`.

    >>> value_name("table", "age")
    'value: table: age'
    """
    return f"{VALUE}{column}: {name}"


def _held(modality: str) -> str:
    """Return how examples are held; of a modality that is not known they are in files."""
    return MODALITIES.get(modality).held if modality in MODALITIES else "files"


def _cell(column: str, modality: str, values: Mapping[str, Any]) -> Cell:
    if _held(modality) == "values":
        start = value_name(column, "")
        cell = {n.removeprefix(start): v for n, v in values.items() if n.startswith(start) and v is not None}
        return cell or None
    value = values[column]
    if isinstance(value, Mapping):
        return None if value["file"] is None else Asset(**value)
    return tuple(value) or None if value is not None else None


def _frame(records: Sequence[Record], columns: Mapping[str, str]) -> pl.DataFrame:
    fields = [f.name for f in PLACES.fields]

    def plain(cell: Cell) -> object:
        return dict(zip(fields, astuple(cell), strict=True)) if isinstance(cell, Asset) else cell

    names = {LABEL + name: name for record in records for name in record.labels}
    values: dict[str, list[Any]] = {}
    for column in columns:
        cells = [record.cells.get(column) for record in records]
        inside = dict.fromkeys(name for cell in cells if isinstance(cell, Mapping) for name in cell)
        for name in inside:
            values[value_name(column, name)] = [
                cell.get(name) if isinstance(cell, Mapping) else None for cell in cells
            ]
        if column in _schema(columns):
            values[column] = [plain(cell) for cell in cells]
    valued = dict.fromkeys((name for name in values if name.startswith(VALUE)), pl.String)
    values |= {name: [getattr(record, name) for record in records] for name in _FACTS}
    values |= {column: [record.labels.get(name) for record in records] for column, name in names.items()}
    return pl.DataFrame(values, schema={**_schema(columns), **valued, **dict.fromkeys(names, pl.String)})
