"""Views of rows of tables by name: in some cells stands what stands there in other rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, UInt64
from torch import Tensor

from ...networks.towers.table import Cells
from ...raw import Table
from .keys import uniform
from .named_pictures import ImageOptions, named


@final
@dataclass(frozen=True)
class TableView:
    """Cells in whose place stands, each by its own draw, what stands in that column among the training rows.

    Attributes:
        replace: the probability of that; a cell of which nothing is known stays so.

    Source: SCARF (arXiv 2106.15147).
    """

    replace: float = 0.0

    def __call__(self, raw: Table, keys: UInt64[np.ndarray, " n"], input: Cells) -> Float[Tensor, "n width"]:
        """Return rows as a tower takes them.

        Raises:
            ValueError: if the keys are not one per row, or the table lacks columns of the training rows.
        """
        if len(keys) != len(raw):
            raise ValueError(f"keys must be one per row: got {len(keys)} for {len(raw)} rows")
        cells = input.aligned(raw)
        if self.replace:
            count = cells.shape[1]
            chosen = torch.from_numpy(uniform(keys, "replace", count) < self.replace) & ~cells.isnan()
            cells = torch.where(chosen, input.drawn(uniform(keys, "value", count)), cells)
        return input.numbers(cells)


_STRONG = TableView(replace=0.5)

TABLE_VIEWS: Mapping[str, TableView] = {
    "plain": TableView(),
    "weak": TableView(replace=0.1),
    "strong": _STRONG,
    "simclr": _STRONG,
}


def table(name: str, augmentation: ImageOptions | None = None) -> TableView:
    """Return a view of rows of tables by its name; for ``weak`` the plain one where ``augmentation`` names that.

    - ``plain``: the row.
    - ``weak``: with one of ten cells as in another row.
    - ``strong``, ``simclr``: with every second one.

    >>> table("weak").replace
    0.1

    Raises:
        UnknownNameError: for any other name.
    """
    return named(TABLE_VIEWS, "tables", name, augmentation)
