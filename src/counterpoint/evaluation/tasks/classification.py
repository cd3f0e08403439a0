"""The model's own answer: which class of the label that it learned."""

from __future__ import annotations

import numpy as np

from ...data.base import Data, Rows
from ...data.columns import ANY
from ...types import Classifier, Constant, Metric, Scores
from ..predictions import probabilities, truth
from ..shots import by_class
from ..statistic import (
    always_commonest,
    always_one_class,
    auroc,
    calibration_error,
    macro_f1,
    mean,
    mean_per_class,
)
from ..task import ClassifierTask, check_rows, scores

CURVES = 12
"""Classes of a label, at most, of which each has its own curve."""


class Classification(ClassifierTask):
    """Classes as the model itself names them, of the label that it was trained on.

    Metrics: ``accuracy``; ``mean_per_class``, over the classes that occur; ``accuracy_many``, ``_medium``, ``_few``, of
    classes with so many training rows (`counterpoint.evaluation.shots`); ``accuracy_on_CLASS`` of
    each of up to 12 classes; ``macro_f1``, over the classes that occur; ``auroc``, of the second of two classes, or
    ``auroc_CLASS`` of each of up to 12 classes against the others, whose mean is the macro average; and
    ``calibration_error``, of the highest probability over 15 equal bins. The best constant answer names the commonest
    class. ``predicted`` and ``class`` are numbers of classes. Rows without the label have no outcome, and so have rows
    that lack a column if the model needs all of them.

    Raises:
        NotApplicableError: for data without the label that the model learned.
        ValueError: if there are no rows, or the model learned no label.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (2017), arXiv 1706.04599, for the calibration error.
    """

    family = "classification"
    name = "classification"
    primary = "accuracy"
    reads = (ANY,)
    labels = ()

    def __call__(self, model: Classifier, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        target, classes = truth(model, data, rows, self.name)
        p = probabilities(model, data, rows)
        valid = (classes >= 0) & ~np.isnan(p).any(1)

        def masked(values: np.ndarray) -> np.ndarray:
            return np.where(valid, values, np.nan)

        predicted = np.nan_to_num(p).argmax(1)
        outcomes = {
            "class": masked(classes),
            "predicted": masked(predicted),
            "accuracy": masked(predicted == classes),
            "confidence": masked(np.nan_to_num(p).max(1)),
        }
        metrics = {
            "accuracy": Metric(
                "accuracy", mean, chance=1 / len(target.classes), constant=always_commonest(classes)
            ),
            "mean_per_class": Metric(
                ("class", "accuracy"),
                mean_per_class,
                chance=1 / len(target.classes),
                constant=always_one_class(classes),
            ),
            "macro_f1": Metric(("class", "predicted"), macro_f1, constant=_naming_commonest(classes)),
            "calibration_error": Metric(
                ("confidence", "accuracy"), calibration_error, higher_is_better=False
            ),
        }
        learned = data.classes[target.label].values[data.splits.train]
        counts = np.bincount(learned + 1, minlength=len(target.classes) + 1)[1:]
        for part, values in by_class(outcomes["accuracy"], classes, target.classes, counts):
            outcomes[f"accuracy_{part}"] = values
            metrics[f"accuracy_{part}"] = Metric(f"accuracy_{part}", mean, chance=1 / len(target.classes))
        two = len(target.classes) == 2
        for number, name in enumerate(target.classes if len(target.classes) <= CURVES else ()):
            if two and number == 0:
                continue  # its curve is that of the other class
            columns = (f"is_{name}", f"probability_{name}")
            outcomes |= {columns[0]: masked(classes == number), columns[1]: masked(p[:, number])}
            metrics["auroc" if two else f"auroc_{name}"] = Metric(
                columns, auroc, chance=0.5, constant=lambda rows: 0.5
            )
        return scores(self.name, data, rows, outcomes, metrics)


def _naming_commonest(classes: np.ndarray) -> Constant:
    """Return the macro-F1 of always naming the commonest class: its F1 over the number of classes that occur."""

    def score(rows: np.ndarray) -> float:
        counts = np.bincount(classes[rows])
        share = counts.max() / len(rows)
        return float(2 * share / (1 + share) / np.count_nonzero(counts))

    return score
