"""Queries of one to twenty tags by Zipf's law as data for studies: rows of a table, each the sum of its tags' vectors.

A study names them as it names any data of a file: ``zipf.py:QUERIES``. `TRAINED` asks about the rows that models
have learned from.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float

from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.labels import Tags
from counterpoint.raw import Table
from counterpoint.registry import unknown

LABEL = "tags"
TAGS, WIDTH = 300, 64
MOST, MANY = 20, 10
"""Tags of a query at most, and those with which it counts as one of many."""
COUNT, VALIDATED, TESTED = 1500, 100, 500
"""Queries to train on, to validate by, and to test."""
NOISE = 0.3
"""Standard deviation of the noise on every number; that of the numbers themselves is one."""


def drawn(
    queries: int, tags: int, seed: int
) -> tuple[Float[np.ndarray, "queries WIDTH"], Bool[np.ndarray, "queries tags"]]:
    """Draw queries of 1 to 20 tags each by Zipf's law, and their numbers: the sum of the tags' vectors, and noise."""
    rng = np.random.default_rng([seed, 13])
    vectors = rng.standard_normal((tags, WIDTH))
    # The k largest of log p + Gumbel noise are a draw of k without replacement.
    scores = -np.log(1 + np.arange(tags)) + rng.gumbel(size=(queries, tags))
    places = (-scores).argsort(1).argsort(1)
    true = places < rng.integers(1, MOST + 1, queries)[:, None]
    sums = true @ vectors / np.sqrt(true.sum(1, keepdims=True))
    return sums + NOISE * rng.standard_normal(sums.shape), true


@final
class Queries(Data):
    """Queries by their numbers, and which tags they have; tests tell those of many tags from others.

    Args:
        tested: the name of the test set: ``"held out"``, or ``"trained"`` for the rows that are trained on.
    """

    columns: Mapping[str, str] = MappingProxyType({"table": "table"})

    def __init__(self, tested: str) -> None:
        self.name = f"{tested} queries"
        numbers, true = drawn(COUNT + VALIDATED + TESTED, TAGS, 0)
        self.ids = np.arange(len(true))
        train, validation, test = np.split(self.ids, (COUNT, COUNT + VALIDATED))
        self.splits = Splits(
            train, {"held out": validation}, {tested: train if tested == "trained" else test}
        )
        self.labels = {LABEL: Tags(tuple(f"tag {k:03}" for k in range(TAGS)), true.astype(np.int8))}
        self.subsets = np.where(true.sum(1) >= MANY, f"{MANY} tags or more", f"fewer than {MANY} tags")
        self.cells = torch.from_numpy(numbers).float()

    def read(self, column: str, rows: Rows) -> Table:
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        cells = self.cells[torch.from_numpy(rows)]
        return Table(cells, tuple(f"number {k}" for k in range(WIDTH)), ((),) * WIDTH)


QUERIES, TRAINED = Queries("held out"), Queries("trained")
