"""The built-in tower of tables: its input, fitted on training rows, and a perceptron that learns what gaps are."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ...files import FORMAT, read_json, write_json
from ...raw import Table
from ..base import Tower

_KEPT = 128  # values of a column


class ColumnStatistics(BaseModel):
    """A column of a table, as the training rows show it.

    Attributes:
        name: of the column.
        mean, deviation: of its numbers; a column without any, or with one alone, keeps its unit.
        words: its categories that occur; none of a column of numbers.
        values: some of what stands in it, evenly spread over the training rows in its order; see `Cells.drawn`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    mean: float = 0.0
    deviation: float = 1.0
    words: tuple[str, ...] = ()
    values: tuple[float, ...] = ()


class _Kept(BaseModel):
    """``table.json``."""

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    cells: tuple[ColumnStatistics, ...]


@final
class Cells:
    """The input of a tower of tables: numbers in units of the training rows, a number for each category.

    A cell that is not known is NaN, and so is a category that no training row has.

    >>> table = Table(torch.tensor([[20.0, 0], [40.0, 1]]), ("age", "sex"), ((), ("f", "m")))
    >>> Cells.fit([table])(Table(torch.tensor([[30.0, 0], [50.0, 1]]), ("age", "sex"), ((), ("m", "x"))))
    tensor([[0., 0., 1.],
            [2., nan, nan]])

    Args:
        cells: the columns, in their order.
    """

    file = "table.json"

    def __init__(self, cells: Sequence[ColumnStatistics]) -> None:
        self.cells = tuple(cells)

    @classmethod
    def fit(cls, tables: Sequence[Table]) -> Self:
        """Learn the columns from the training rows of all tables that are read.

        Raises:
            ValueError: where tables that share a tower have different columns.
        """
        first = tables[0]
        for table in tables:
            if set(table.names) != set(first.names):
                raise ValueError(
                    f"tables that share a tower must have the same columns, and these have {', '.join(first.names)} "
                    f"and {', '.join(table.names)}"
                )
        return cls([_cell(name, [_column(table, name) for table in tables]) for name in first.names])

    @property
    def width(self) -> int:
        """The numbers of a row that a tower gets."""
        return sum(len(cell.words) or 1 for cell in self.cells)

    def aligned(self, table: Table) -> Float[Tensor, "B F"]:
        """Return cells in the order of the training rows' columns, categories by their positions there.

        Raises:
            ValueError: for a table that lacks a column, or has numbers where there were categories.
        """
        columns = []
        for cell in self.cells:
            values, words = _column(table, cell.name)
            if bool(words) != bool(cell.words) and not np.isnan(values).all():
                had, has = ("categories", "numbers") if cell.words else ("numbers", "categories")
                raise ValueError(
                    f"{cell.name} held {had} in the training rows, and holds {has}: read it as {had}"
                )
            if words:
                positions = {word: float(position) for position, word in enumerate(cell.words)}
                known = np.array([positions.get(word, np.nan) for word in words])
                values = np.where(np.isnan(values), np.nan, known[np.nan_to_num(values).astype(int)])
            columns.append(torch.from_numpy(values))
        return torch.stack(columns, 1)

    def drawn(self, draws: Float[np.ndarray, "B F"]) -> Float[Tensor, "B F"]:
        """Return cells as they are among training rows, each column for itself, one for every number on [0, 1)."""
        columns = [
            np.array(cell.values or (np.nan,))[(column * max(len(cell.values), 1)).astype(int)]
            for cell, column in zip(self.cells, draws.T, strict=True)
        ]
        return torch.from_numpy(np.stack(columns, 1))

    def numbers(self, cells: Float[Tensor, "B F"]) -> Float[Tensor, "B width"]:
        """Return what a tower takes of aligned cells."""
        parts = []
        for cell, values in zip(self.cells, cells.double().unbind(1), strict=True):
            if cell.words:
                hot = F.one_hot(values.nan_to_num(0).long(), len(cell.words)).double()
                parts.append(hot.masked_fill(values.isnan()[:, None], torch.nan))
            else:
                parts.append((values[:, None] - cell.mean) / cell.deviation)
        return torch.cat(parts, 1).float()

    def __call__(self, table: Table) -> Float[Tensor, "B width"]:
        return self.numbers(self.aligned(table))

    def save(self, path: str | Path) -> None:
        """Write one JSON file."""
        write_json(Path(path), _Kept(cells=self.cells).model_dump())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            DamagedFileError: for a file that is missing or no such file.
        """
        return cls(read_json(Path(path), _Kept, "train the model again, or export it again").cells)


def _column(table: Table, name: str) -> tuple[Float[np.ndarray, " B"], tuple[str, ...]]:
    """Return the cells of a column and its categories."""
    if name not in table.names:
        raise ValueError(
            f"the table lacks the column {name!r}, which the training rows have: add it, empty where nothing is known"
        )
    index = table.names.index(name)
    return table.cells[:, index].double().numpy(), table.categories[index]


def _cell(name: str, columns: Sequence[tuple[np.ndarray, tuple[str, ...]]]) -> ColumnStatistics:
    """Learn a column from its cells in all tables."""
    if len({bool(words) for _, words in columns}) > 1:
        raise ValueError(f"{name} holds numbers in one table and categories in another")
    if columns[0][1]:
        categories = sorted(
            words[int(value)] for values, words in columns for value in values[~np.isnan(values)]
        )
        words = tuple(dict.fromkeys(categories))
        known = np.array([words.index(word) for word in categories], dtype=float)
    else:
        words = ()
        known = np.sort(np.concatenate([values[~np.isnan(values)] for values, _ in columns]))
    some = known[((np.arange(_KEPT) + 0.5) / _KEPT * len(known)).astype(int)] if len(known) else known
    if words or not len(known):
        return ColumnStatistics(name=name, words=words, values=tuple(some.tolist()))
    deviation = float(known.std()) or 1.0
    return ColumnStatistics(
        name=name, mean=float(known.mean()), deviation=deviation, values=tuple(some.tolist())
    )


class TableTower(Tower, ABC):
    """Rows of a table to features."""

    modality: ClassVar[str] = "table"
    cells: Cells

    @property
    def input(self) -> Cells:
        return self.cells


class TablePerceptron(TableTower):
    """``W_2 relu(W_1 x + b_1) + b_2`` of the numbers x of a row, a learned one in place of each that is not known.

    Args:
        cells: its input, which knows the columns.
        hidden: width of the hidden layer.
        width: of a feature vector.
    """

    def __init__(self, cells: Cells, hidden: int = 256, width: int = 64) -> None:
        super().__init__()
        self.cells, self.width = cells, width
        self.missing = nn.Parameter(torch.zeros(cells.width))
        self.up, self.down = nn.Linear(cells.width, hidden), nn.Linear(hidden, width)

    def forward(self, rows: Float[Tensor, "B F"]) -> Float[Tensor, "B width"]:
        gone = rows.isnan()
        return self.down(F.relu(self.up(torch.where(gone, self.missing, rows.masked_fill(gone, 0.0)))))
