"""The loss in accuracy when columns are withheld from a model, and what each column is worth to it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, combinations
from math import factorial

import numpy as np
from jaxtyping import Float

from ...data.base import Data, Rows
from ...data.columns import ANY
from ...types import Classifier, Metric, Scores
from ..predictions import probabilities, truth
from ..statistic import always_commonest, mean
from ..task import ClassifierTask, NotApplicableError, check_rows, scores

MOST = 6
"""Columns of which every subset is withheld."""


class MissingModality(ClassifierTask):
    """Accuracy of the model's own classes with every subset of its columns withheld, and what each column is worth.

    Metrics: ``accuracy`` with all columns; ``without_A+B``, the accuracy where A and B are withheld, for every
    subset that leaves one; ``withheld_accuracy``, the mean of these; ``drop_A``, how much accuracy goes with A alone;
    and ``importance_A``, the Shapley value of A for the probability p of the true class,

        importance_A = Σ_S |S|! (M − |S| − 1)! / M! · (p(S ∪ A) − p(S)),   S every subset of the other M − 1 columns,

    so that the importances of an example add up to what p gains from nothing to all columns. A column that a row lacks
    is worth 0 there. Rows without the label have no outcome.

    Raises:
        NotApplicableError: for data without the label that the model learned, or with fewer than two, or more than
            six, of its columns.
        ValueError: if there are no rows, or for a model that learned no label or needs all of its columns.

    Source: Ma et al., "Are Multimodal Transformers Robust to Missing Modality?" (2022), arXiv 2204.05454, for accuracy
    by what is withheld; Shapley, "A Value for n-Person Games" (1953).
    """

    family = "classification"
    name = "missing_modality"
    primary = "withheld_accuracy"
    reads = (ANY, ANY)
    labels = ()

    def check_model(self, model: Classifier, data: Data) -> None:
        super().check_model(model, data)
        if model.incomplete != "use":
            raise ValueError(
                f"{self.name} withholds columns, and {type(model).__name__} needs all of "
                f"{', '.join(model.columns)}: leave the arm or the task out"
            )

    def __call__(self, model: Classifier, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        self.check_model(model, data)
        target, classes = truth(model, data, rows, self.name)
        columns = tuple(column for column in model.columns if column in data.columns)
        if not 2 <= len(columns) <= MOST:
            raise NotApplicableError(
                f"{self.name} withholds some of 2 to {MOST} columns, and the model looks at {', '.join(columns)}"
            )
        labelled, n = classes >= 0, np.arange(len(rows))

        def masked(values: np.ndarray) -> np.ndarray:
            return np.where(labelled, values, np.nan)

        hits, true = {}, {}
        for shown in subsets(columns):
            p = probabilities(model, data, rows, withheld=set(columns) - shown)
            hits[shown], true[shown] = masked(p.argmax(1) == classes), masked(p[n, classes.clip(0)])
        everything = frozenset(columns)
        outcomes = {"accuracy": hits[everything]}
        without = {
            f"without_{'+'.join(c for c in columns if c not in shown)}": hits[shown]
            for shown in hits
            if shown and shown != everything
        }
        outcomes |= {"withheld_accuracy": np.mean(list(without.values()), axis=0), **without}
        metrics = {
            name: Metric(name, mean, chance=1 / len(target.classes), constant=always_commonest(classes))
            for name in outcomes
        }
        for column in columns:
            drop, importance = f"drop_{column}", f"importance_{column}"
            outcomes |= {
                drop: hits[everything] - hits[everything - {column}],
                importance: shapley(column, true),
            }
            metrics |= {
                drop: Metric(
                    drop, mean, higher_is_better=False, constant=lambda rows: 0.0, bounds=(-1.0, 1.0)
                ),
                importance: Metric(importance, mean, constant=lambda rows: 0.0, bounds=(-1.0, 1.0)),
            }
        return scores(self.name, data, rows, outcomes, metrics)


def subsets(columns: tuple[str, ...]) -> list[frozenset[str]]:
    """Return every subset, the smallest first.

    >>> [sorted(subset) for subset in subsets(("a", "b"))]
    [[], ['a'], ['b'], ['a', 'b']]
    """
    sizes = range(len(columns) + 1)
    return [frozenset(part) for part in chain.from_iterable(combinations(columns, size) for size in sizes)]


def shapley(column: str, values: Mapping[frozenset[str], Float[np.ndarray, " n"]]) -> Float[np.ndarray, " n"]:
    """Return the Shapley value of a column from the value of every subset of columns.

    >>> of = {frozenset(): np.zeros(1), frozenset("a"): np.ones(1), frozenset("b"): np.zeros(1),
    ...       frozenset("ab"): np.array([3.0])}
    >>> shapley("a", of), shapley("b", of)
    (array([2.]), array([1.]))
    """
    m = max(map(len, values))
    parts = [
        factorial(len(subset)) * factorial(m - len(subset) - 1) / factorial(m)
        * (values[subset | {column}] - of_subset)
        for subset, of_subset in values.items()
        if column not in subset
    ]  # fmt: skip
    return np.sum(parts, axis=0)
