"""The one form that every source is read into: records, with a cell for each column of the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, Self, final, overload

import polars as pl

from ...modalities import PAIR
from ._files.asset import Asset

LABEL = "label: "
"""Beginning of the names of those columns of `Records.frame` that are the user's own, with whatever name."""
PLACES = pl.Struct({"file": pl.String, "member": pl.String, "offset": pl.Int64, "size": pl.Int64})
"""Type of a column of assets in `Records.frame`: the attributes of `Asset`."""
TEXTS = pl.List(pl.String)
"""Type of a column of texts in `Records.frame`."""

Cell = Asset | tuple[str, ...] | None
"""The value of a column in a record: where its bytes are, or its texts, or nothing: a gap is normal."""

_FACTS = ("key", "id", "split", "group", "where")
_BLOCK = 20_000  # records that are Python objects at once


@final
@dataclass(frozen=True)
class Record:
    """One example.

    Attributes:
        cells: for each column of the data where its bytes are, or, of a column of texts, one or more texts; None, or
            no such entry, where the example has nothing there.
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
        frame: a row a record: for each column of the data places (`PLACES`; null for a gap) or lists of texts
            (`TEXTS`; empty for a gap); ``key``, ``id``, ``split``, ``group``, ``where``; and `LABEL` and a name for
            each label, all as text.
        columns: the columns of the data, each with its modality; those of the modality text hold texts.
    """

    def __init__(self, frame: pl.DataFrame, columns: Mapping[str, str] = PAIR) -> None:
        self.columns = MappingProxyType(dict(columns))
        lacking = {name: kind for name, kind in _schema(columns).items() if name not in frame.columns}
        frame = frame.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in lacking.items())
        texts = [name for name, modality in columns.items() if modality == "text"]
        self.frame = frame.with_columns(pl.col(name).fill_null([]) for name in texts)

    @classmethod
    def collect(cls, records: Iterable[Record], columns: Mapping[str, str] = PAIR) -> Self:
        """Read records block by block.

        Args:
            records: whose cells are of these columns.
            columns: of the data, each with its modality.
        """
        each, blocks = iter(records), [pl.DataFrame(schema=_schema(columns))]
        while block := list(islice(each, _BLOCK)):
            blocks.append(_frame(block, columns))
        return cls(pl.concat(blocks, how="diagonal"), columns)

    @classmethod
    def concat(cls, parts: Sequence[Records]) -> Self:
        """Put records one after the other; they have the columns that any of them has.

        Raises:
            ValueError: for a column of two modalities.
        """
        columns: dict[str, str] = {}
        for part in parts:
            for name, modality in part.columns.items():
                if columns.setdefault(name, modality) != modality:
                    raise ValueError(
                        f"the column {name} holds {columns[name]} in one part, {modality} in another"
                    )
        empty = pl.DataFrame(schema=_schema(columns))
        return cls(pl.concat([empty, *(part.frame for part in parts)], how="diagonal"), columns)

    def having(self, column: str) -> pl.Series:
        """Return which records have something in a column of the data; none have where there is no such column."""
        if column not in self.columns:
            return pl.repeat(False, len(self), eager=True)
        cells = self.frame[column]
        return cells.list.len() > 0 if cells.dtype == TEXTS else cells.struct.field("file").is_not_null()

    def with_frame(self, frame: pl.DataFrame) -> Records:
        """Return other rows of the same columns."""
        return Records(frame, self.columns)

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
        cells = {name: _cell(values[name]) for name in self.columns}
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
    if taken := sorted(name for name in columns if name in _FACTS or name.startswith(LABEL)):
        raise ValueError(f"a column cannot be called {taken[0]!r}; give it another name")
    cells = {name: TEXTS if modality == "text" else PLACES for name, modality in columns.items()}
    return {**cells, **dict.fromkeys(_FACTS, pl.String)}


def _cell(value: Any) -> Cell:
    if isinstance(value, Mapping):
        return None if value["file"] is None else Asset(**value)
    return tuple(value) or None if value is not None else None


def _frame(records: Sequence[Record], columns: Mapping[str, str]) -> pl.DataFrame:
    fields = [f.name for f in PLACES.fields]

    def plain(cell: Cell) -> object:
        return dict(zip(fields, astuple(cell), strict=True)) if isinstance(cell, Asset) else cell

    names = {LABEL + name: name for record in records for name in record.labels}
    values: dict[str, list[Any]] = {
        name: [plain(record.cells.get(name)) for record in records] for name in columns
    }
    values |= {name: [getattr(record, name) for record in records] for name in _FACTS}
    values |= {column: [record.labels.get(name) for record in records] for column, name in names.items()}
    return pl.DataFrame(values, schema={**_schema(columns), **dict.fromkeys(names, pl.String)})
