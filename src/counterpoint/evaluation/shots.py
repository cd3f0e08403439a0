"""Classes, tags and ranges of numbers by the training examples they have: many, medium or few."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from ..data.base import Data, Rows
from .task import subsample_by_hash

FEW, MANY = 20, 100
"""Training examples below which a class has few, and above which it has many."""
CLASSES = 12
"""Classes of a label, at most, of which each has numbers of its own."""


def by_shot(counts: Int[np.ndarray, " k"]) -> dict[str, Bool[np.ndarray, " k"]]:
    """Return which classes have many, medium and few training examples; nothing where that does not tell them apart.

    Cut at 100 and 20 examples, as long-tailed recognition is told of; where all classes fall together, at the terciles
    of their counts. A class without a training example is in none, since it was not learned from few.

    Args:
        counts: the training examples of each class.

    Source: Liu et al., "Large-Scale Long-Tailed Recognition in an Open World" (2019), arXiv 1904.05160.

    >>> {shot: which.tolist() for shot, which in by_shot(np.array([500, 60, 7, 0])).items()}
    {'many': [True, False, False, False], 'medium': [False, True, False, False], 'few': [False, False, True, False]}
    >>> {shot: which.tolist() for shot, which in by_shot(np.array([30, 50, 90])).items()}
    {'many': [False, False, True], 'medium': [False, True, False], 'few': [True, False, False]}
    >>> by_shot(np.array([50, 50, 50]))
    {}
    """
    there = counts > 0
    if not there.any():
        return {}
    parts = _cut(counts, FEW, MANY)
    if len(parts) < 2:
        parts = _cut(counts, *np.quantile(counts[there], [1 / 3, 2 / 3]))
    return parts if len(parts) > 1 else {}


def _cut(counts: Int[np.ndarray, " k"], few: float, many: float) -> dict[str, Bool[np.ndarray, " k"]]:
    parts = {
        "many": counts > many,
        "medium": (few <= counts) & (counts <= many),
        "few": (counts > 0) & (counts < few),
    }
    return {shot: which for shot, which in parts.items() if which.any()}


def by_class(
    outcomes: Float[np.ndarray, " n"],
    classes: Int[np.ndarray, " n"],
    names: Sequence[str],
    counts: Int[np.ndarray, " k"],
) -> Iterator[tuple[str, Float[np.ndarray, " n"]]]:
    """Yield outcomes of some classes alone, NaN elsewhere: by shot, and of each class where they are at most 12.

    The first are called ``many``, ``medium`` and ``few``, the others ``on_CLASS``.

    Args:
        outcomes, classes: of every example; −1 is no class.
        names: of the classes.
        counts: the training examples of each.
    """
    for shot, which in by_shot(counts).items():
        yield shot, np.where((classes >= 0) & which[classes], outcomes, np.nan)
    for number, name in enumerate(names if len(names) <= CLASSES else ()):
        yield f"on_{name}", np.where(classes == number, outcomes, np.nan)


def rows_of_classes(rows: Rows, classes: Int[np.ndarray, " N"], k: int) -> list[Int[np.ndarray, " _"]]:
    """Return those of some rows that are of each of k classes, in their order.

    Args:
        rows: of the data.
        classes: of every row of the data, −1 where it has none.
        k: how many classes there are.
    """
    ordered = rows[np.argsort(classes[rows], kind="stable")]
    bounds = np.searchsorted(classes[ordered], np.arange(k + 1))
    return [ordered[start:end] for start, end in pairwise(bounds)]


def training_rows(
    data: Data, column: str, label: str, members: Iterable[Int[np.ndarray, " _"]], limit: int, purpose: str
) -> Rows:
    """Choose training rows for a probe: at most ``limit``, and as many more as give every class 20 where it has them.

    The choice is fixed by the hash of ids, the same for every model and seed. Of the label that methods learn from,
    which few rows may show, the rows are chosen among those that show it.

    Args:
        data: whose training rows.
        column: that they have.
        label: of which something is known of them.
        members: the training rows of each class.
        limit: of those that are chosen whatever their class.
        purpose: of the hash.
    """
    train, known = data.splits.train, data.labels[label].known
    some = train[known[train]] if label == data.learned else train
    chosen = [some[subsample_by_hash(data, some, limit, purpose)]]
    chosen += [of_class[subsample_by_hash(data, of_class, FEW, purpose)] for of_class in members]
    rows = train[np.isin(train, np.concatenate(chosen))]
    return rows[known[rows] & data.present(column, rows)]
