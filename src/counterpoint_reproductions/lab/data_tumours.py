"""Measurements of tumours in three blocks as data for studies: each block a column, so that rows can lack one.

A study names the data as it names any data of a file: ``tumours.py:TUMOURS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import final

import numpy as np
import torch

from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.labels import Classes
from counterpoint.raw import Table
from counterpoint.registry import unknown

BLOCKS = ("mean", "error", "worst")
LABEL = "diagnosis"
TRAINED, VALIDATED = 300, 40
NOISE = 2.0
"""Standard deviation of the noise on every measurement, in units of the measurement's own."""


@final
class Tumours(Data):
    """scikit-learn's 569 tumours: ten measurements by mean, error and worst, and which are malignant.

    Under noise, so that no block tells alone. Columns of one modality share a tower, whose input has a cell for each
    measurement of each block: a block is a row of all thirty in which nothing is known of the other two.
    """

    columns: Mapping[str, str] = MappingProxyType(dict.fromkeys(BLOCKS, "table"))
    name = "tumours in three blocks"

    def __init__(self) -> None:
        from sklearn.datasets import load_breast_cancer

        found = load_breast_cancer()
        count = len(found.target)
        order = np.random.default_rng(0).permutation(count)
        train, validation, test = np.split(order, (TRAINED, TRAINED + VALIDATED))
        self.ids = np.arange(count)
        self.splits = Splits(train, {"held out": validation}, {"held out": test})
        self.labels = {LABEL: Classes(("benign", "malignant"), 1 - found.target)}
        values = (found.data - found.data[train].mean(0)) / found.data[train].std(0)
        noise = np.random.default_rng(1).normal(0, NOISE, values.shape)
        self.values = torch.from_numpy(values + noise).float()
        self.measured = tuple(map(str, found.feature_names))

    def read(self, column: str, rows: Rows) -> Table:
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        width = len(self.measured) // len(BLOCKS)
        mine = torch.arange(len(self.measured)) // width == BLOCKS.index(column)
        cells = self.values[torch.from_numpy(rows)].masked_fill(~mine, torch.nan)
        return Table(cells, self.measured, ((),) * len(self.measured))


TUMOURS = Tumours()
