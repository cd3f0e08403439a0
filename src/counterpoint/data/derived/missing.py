"""Any data with gaps made in it: which values are withheld follows from the ids of items alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from ...raw import Raw
from ...registry import unknown
from ..base import Data, ImageSource, Rows
from ._derived import DerivedData
from .gaps import Gap

GREY = 128
"""The value of every pixel of a picture that is withheld."""


@final
class MissingValuesData(DerivedData):
    """Data of which some values are withheld, those of the same items whoever asks, in whatever order.

    In place of what is withheld stands something that says nothing: a grey picture, an empty text, silence, series of
    zeros, cells of which nothing is known.

    Args:
        data: all of it.
        gaps: what is withheld.
        name: how the user named it.

    Raises:
        UnknownNameError: for a column, a label or a class that the data does not have.
        ValueError: for a label whose class is not said, a column of which nothing is left to train on, and data that
            lies in shards, whose records are counted before they are read.
    """

    part = "gaps"

    def __init__(self, data: Data, gaps: Sequence[Gap], name: str) -> None:
        for column in (column for gap in gaps for column in gap.columns):
            if column not in data.columns:
                raise unknown("column", column, data.columns)
        if len(data.shards):
            raise ValueError(
                f"{name}: no values can be withheld of data that lies in shards: open a part of it as files"
            )
        super().__init__(data, name)
        self.gaps, self.changes = tuple(gaps), tuple(map(str, gaps))
        conditional = any(gap.when for gap in gaps)
        classes = {name: it.names for name, it in data.classes.items()} if conditional else {}
        self._chosen = [gap.class_of(classes) if gap.when else -1 for gap in gaps]
        self._in_test = np.zeros(len(data), dtype=bool)
        self._in_test[np.concatenate([np.zeros(0, np.int64), *data.splits.test.values()])] = True
        for column in dict.fromkeys(column for gap in gaps for column in gap.columns):
            if not self.present(column, data.splits.train).any():
                raise ValueError(
                    f"{name}: no row to train on has a value in {column} any more; withhold fewer"
                )

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        present = self.data.present(column, rows)
        for gap, chosen in zip(self.gaps, self._chosen, strict=True):
            if column in gap.columns:
                classes = self.data.classes[gap.when].values[rows] if gap.when else None
                withheld = gap.withheld(column, self.ids[rows], self._in_test[rows], classes, chosen)
                for other in set(gap.columns) - {column}:
                    withheld &= self.data.present(other, rows)  # a row that lacks one of them loses no other
                present = present & ~withheld
        return present

    def read(self, column: str, rows: Rows) -> Any:
        return self._masked(self.data.read(column, rows), column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return self._masked(self.data.read_training(column, rows), column, rows)

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        present = self.present(column, np.array([row]))[0]
        return self.data.evaluation_texts(column, row) if present else ("",)

    def shifts(self) -> Mapping[str, ImageSource]:
        def masked(source: ImageSource) -> ImageSource:
            # A row without its picture has no other one either.
            return lambda rows: self._masked(source(rows), "image", rows)

        return {name: masked(source) for name, source in self.data.shifts().items()}

    def _masked(self, raw: Any, column: str, rows: Rows) -> Any:
        """Return a raw form in which nothing stands that is withheld; what the data itself lacks is as it gives it."""
        withheld = self.data.present(column, rows) & ~self.present(column, rows)
        return without(raw, torch.from_numpy(withheld)) if withheld.any() else raw

    def _became(self) -> Bool[np.ndarray, "N columns"]:
        every = np.arange(len(self))
        return np.stack([self.present(column, every) for column in self.columns], 1)

    def describe(self) -> dict[str, dict[str, Any]]:
        rows = np.arange(len(self))
        withheld = {
            column: f"{gap}: {int((~self.present(column, rows)).sum()):,} of {len(self):,} rows lack it"
            for gap in self.gaps
            for column in gap.columns
        }
        return super().describe() | {"withheld": withheld}

    def findings(self) -> Mapping[str, str]:
        train = self.splits.train
        lacking = [
            f"{column} of {int((~self.present(column, train)).sum()):,}"
            for column in dict.fromkeys(column for gap in self.gaps for column in gap.columns)
        ]
        line = f"{', '.join(lacking)} of {len(train):,} rows to train on ({' '.join(map(str, self.gaps))})"
        return {**self.data.findings(), "withheld": line}


def without(raw: Any, mask: Bool[Tensor, " n"]) -> Any:
    """Return a raw form in which nothing is left of some examples; of a form that is not known here, as it is.

    >>> without(["a", ["b", "c"]], torch.tensor([True, True])), without(torch.ones(2, 1), torch.tensor([True, False]))
    (['', ['']], tensor([[0.],
            [1.]]))
    """
    if isinstance(raw, Raw):
        return raw.without(mask)
    if isinstance(raw, Tensor):
        empty = GREY if raw.dtype == torch.uint8 else 0
        return raw.masked_fill(mask.view(-1, *(1,) * (raw.ndim - 1)), empty)
    if isinstance(raw, Sequence) and not isinstance(raw, str):
        empties = ("" if isinstance(one, str) else [""] for one in raw)
        return [empty if of else one for one, empty, of in zip(raw, empties, mask.tolist(), strict=True)]
    return raw
