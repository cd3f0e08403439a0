"""Simple classifiers that read frozen embeddings of a column."""

from __future__ import annotations

import numpy as np

from ....data.base import Data, Rows
from ....data.columns import ANY
from ....data.embeddings import EmbeddingCache
from ....types import Embedder, Metric, Scores
from ...classification.classifiers import CLASSIFIERS
from ...statistic import mean
from ...task import (
    EmbedderTask,
    always_commonest,
    asked_column,
    check_labels,
    check_rows,
    check_training,
    main_labels,
    scatter,
    scores,
    subsample_by_hash,
)


class Probe(EmbedderTask):
    """Logistic regression, naive Bayes and k-NN on the first head's embeddings of pictures.

    Of data without pictures those of the first column that is no text, of texts alone those of texts. Trained on at
    most ``limit`` of the training rows (a fixed choice by the hash of their ids, the same for every model and seed),
    by the classes that training saw (``--labels`` may make these few, or wrong), tested on the test rows. Features of
    the first two are scaled to [0, 1] by the training rows; see
    `counterpoint.evaluation.classification.classifiers` for each. A test row whose class does not occur in training
    counts as wrong.

    Metrics: ``logistic_LABEL_top1``, ``naive_bayes_LABEL_top1``, ``knn_LABEL_top1``; chance is 1/classes, and the
    best constant answer names the commonest class of the test rows. Main metrics are the ``logistic_LABEL_top1``,
    that of the first of `main_labels` before all. Rows without the label have no outcome; where training has fewer
    than two classes, no row has one (NaN). Rows that lack the column count for nothing.

    Args:
        labels: which labels; all that the data has unless given.
        limit: training rows at most.

    Raises:
        NotApplicable: if the data has none of the labels, or the model embeds none of its columns.
        ValueError: if there are no rows, or no training rows.

    Source: naive-bayes-linear-eval (Zheng et al. 2023).
    """

    name = "probe"
    papers = ("naive-bayes-linear-eval",)
    modalities = (ANY,)
    reads = (ANY,)
    learns = True

    def __init__(self, labels: tuple[str, ...] = (), limit: int = 1000) -> None:
        self.labels: tuple[str, ...] = labels
        self.limit = limit

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        return tuple(f"logistic_{label}_top1" for label in main_labels(data, self.labels))

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        labels = check_labels(data, self.labels, self.name)
        check_training(self, data)
        features = EmbeddingCache.of(model, data)
        column = asked_column(self.name, features)
        there = data.present(column, rows)
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for label in labels:
            names, values = data.classes[label].names, data.classes[label].values
            train, test = self._training(data, column, label), np.flatnonzero((values[rows] >= 0) & there)
            defined = len(np.unique(values[train])) > 1 and len(test) > 0
            for classifier, predict in CLASSIFIERS.items():
                name = f"{classifier}_{label}_top1"
                metrics[name] = Metric(
                    name, mean, chance=1 / max(len(names), 1), constant=always_commonest(values[rows])
                )
                outcomes[name] = np.full(len(rows), np.nan)
                if defined:
                    predicted = predict(
                        features.column(column, train).numpy(),
                        values[train],
                        features.column(column, rows[test]).numpy(),
                        len(names),
                    )
                    outcomes[name] = scatter(predicted == values[rows[test]], test, len(rows))
        return scores(self.name, data, rows, outcomes, metrics)

    def _training(self, data: Data, column: str, label: str) -> Rows:
        """Return the training rows that have a column and show a class of a label.

        Of the label that methods learn from, which few rows may show, they are chosen among the rows that show it.
        """
        rows, classes = data.splits.train, data.classes[label].values
        if label == data.learned:
            rows = rows[classes[rows] >= 0]
        chosen = rows[subsample_by_hash(data, rows, self.limit, "probe")]
        return chosen[data.present(column, chosen) & (classes[chosen] >= 0)]
