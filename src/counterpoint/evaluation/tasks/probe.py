"""Simple classifiers that read frozen embeddings of a column."""

from __future__ import annotations

import numpy as np

from ...data.base import Data, Rows
from ...data.columns import ANY
from ...data.embeddings import EmbeddingCache
from ...types import Embedder, Metric, Scores
from ..classifiers import CLASSIFIERS
from ..shots import by_class, rows_of_classes, training_rows
from ..statistic import always_commonest, always_one_class, mean, mean_per_class
from ..task import (
    EmbedderTask,
    asked_column,
    check_labels,
    check_rows,
    check_training,
    main_labels,
    scatter,
    scores,
)


class Probe(EmbedderTask):
    """Logistic regression, naive Bayes and k-NN on embeddings of pictures.

    Where the data has no pictures, the features are those of the first column that is no text; where it has texts
    alone, those of texts. Trained on at most ``limit`` of the training rows, and as many more as give every class 20
    where it has them (a fixed choice by the hash of their ids, the same for every model and seed), by the classes that
    training saw (``--labels`` may make these few, or wrong), tested on the test rows. Features of the first two are
    scaled to [0, 1] by the training rows; see `counterpoint.evaluation.classifiers` for each. A test row
    whose class does not occur in training counts as wrong.

    Metrics: ``logistic_LABEL_top1``, ``naive_bayes_LABEL_top1``, ``knn_LABEL_top1``; chance is 1/classes, and the
    best constant answer names the commonest class of the test rows. Of the logistic regression also
    ``logistic_LABEL_mean_per_class``, over the classes that occur; ``logistic_LABEL_many``, ``_medium``, ``_few``, the
    accuracy on classes with so many training rows (`counterpoint.evaluation.shots`); and
    ``logistic_LABEL_on_CLASS`` of each of up to 12 classes. The first head has the plain names; others are
    ``logistic_LABEL_top1[local]``, those of joint columns of the model ``logistic_LABEL_top1[audio+video]``. Main
    metrics are the ``logistic_LABEL_top1``, that of the first of `main_labels` before all. Rows without the label have
    no outcome; where training has fewer than two classes, no row has one (NaN). Rows that lack the column count for
    nothing.

    Args:
        labels: which labels; all that the data has unless given.
        limit: training rows at most, but for rare classes.

    Raises:
        NotApplicableError: if the data has none of the labels, or the model embeds none of its columns.
        ValueError: if there are no rows, or no training rows.

    Source: naive-bayes-linear-eval (Zheng et al. 2023).
    """

    family = "classification"
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
            of_class = rows_of_classes(data.splits.train, values, len(names))
            counts = np.array([len(members) for members in of_class])
            train = training_rows(data, column, label, of_class, self.limit, self.name)
            test = np.flatnonzero((values[rows] >= 0) & there)
            outcomes[f"{label}_class"] = scatter(values[rows[test]], test, len(rows))
            chance, constant = 1 / max(len(names), 1), always_commonest(values[rows])
            asked = [(column, head, f"[{head}]" if n else "") for n, head in enumerate(features.heads)]
            asked += [(joint, features.heads[0], f"[{joint}]") for joint in features.joint]
            for side, head, suffix in asked:
                learnt = train[features.present(side, train)]
                tested = test[features.present(side, rows[test])]
                defined = len(np.unique(values[learnt])) > 1 and len(tested) > 0
                for classifier, predict in CLASSIFIERS.items():
                    hits = np.full(len(rows), np.nan)
                    if defined:
                        predicted = predict(
                            features.column(side, learnt, head).numpy(),
                            values[learnt],
                            features.column(side, rows[tested], head).numpy(),
                            len(names),
                        )
                        hits = scatter(predicted == values[rows[tested]], tested, len(rows))
                    name = f"{classifier}_{label}"
                    top1 = f"{name}_top1{suffix}"
                    outcomes[top1] = hits
                    metrics[top1] = Metric(top1, mean, chance=chance, constant=constant)
                    if classifier != "logistic":
                        continue
                    metrics[f"{name}_mean_per_class{suffix}"] = Metric(
                        (f"{label}_class", top1),
                        mean_per_class,
                        chance=chance,
                        constant=always_one_class(values[rows]),
                    )
                    for part, of_part in by_class(hits, values[rows], names, counts):
                        outcomes[f"{name}_{part}{suffix}"] = of_part
                        metrics[f"{name}_{part}{suffix}"] = Metric(
                            f"{name}_{part}{suffix}", mean, chance=chance
                        )
        return scores(self.name, data, rows, outcomes, metrics)
