"""Rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .examples import Raw


@final
@dataclass(frozen=True, eq=False)
class Table(Raw):
    """Rows of a table: numbers, and categories by their number.

    Attributes:
        cells: a column's numbers, or the positions of its categories; NaN where nothing is known.
        names: of the columns.
        categories: of each column the words of its categories; none of a column of numbers.
    """

    cells: Float[Tensor, "n F"]
    names: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]

    @property
    def values(self) -> Tensor:
        return self.cells

    def with_values(self, values: Tensor) -> Table:
        return Table(values, self.names, self.categories)

    def without(self, mask: Bool[Tensor, " n"]) -> Table:
        return self.with_values(self.cells.masked_fill(mask[:, None], torch.nan))

    def rows(self) -> list[dict[str, str]]:
        """Return each row in words: a column's name to a number or a category, empty for what is not known.

        >>> Table(torch.tensor([[31.0, 1], [float("nan"), 0]]), ("age", "sex"), ((), ("f", "m"))).rows()
        [{'age': '31', 'sex': 'm'}, {'age': '', 'sex': 'f'}]
        """
        return [
            {
                name: "" if value != value else words[int(value)] if words else f"{value:g}"
                for name, words, value in zip(self.names, self.categories, row, strict=True)
            }
            for row in self.cells.tolist()
        ]


def check_table(table: object) -> Table:
    """Return rows of a table that can be embedded; a row that lacks everything is one.

    Raises:
        ValueError: for anything else, for none, and for an infinite cell.
    """
    if not isinstance(table, Table):
        raise ValueError(f"rows of a table must be cp.Table, got {type(table).__name__}")
    if not len(table):
        raise ValueError("there is nothing to embed: the table has no rows")
    if len(where := torch.nonzero(table.cells.isinf())):
        row, column = where[0].tolist()
        raise ValueError(f"row {row} of the table is infinite in {table.names[column]}")
    return table
