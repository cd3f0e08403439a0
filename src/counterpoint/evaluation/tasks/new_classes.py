"""Classes that training lacked, beside those that it had."""

from __future__ import annotations

import numpy as np

from ...data.base import Data, Rows
from ...data.columns import ANY
from ...data.derived.new_classes import new_label
from ...types import Classifier, Metric, RenamesClasses, Scores
from ..predictions import probabilities, truth
from ..statistic import harmonic_mean, mean
from ..task import ClassifierTask, NotApplicableError, check_rows, scores


class NewClasses(ClassifierTask):
    """Base classes, which training had, and new classes, which the model knows by their names alone.

    The classes are divided by ``--labels LABEL,new=SHARE``. Each part is asked by itself: an example of a base class is
    held against base classes alone, one of a new class against new ones.

    Metrics: ``base`` and ``new``, the accuracies; and ``harmonic``, ``2 b n / (b + n)`` of these two. A model that
    knows more of its classes than their names has ``base`` alone, and so have rows without a new class. Rows without a
    class have no outcome, and so have rows that lack a column if the model needs all of them.

    Raises:
        NotApplicableError: for data without the label that the model learned, or without new classes.
        ValueError: if there are no rows, or the model learned no label.

    Source: the protocol of Zhou et al., "Conditional Prompt Learning for Vision-Language Models" (2022), arXiv
    2203.05557.
    """

    family = "classification"
    name = "new_classes"
    primary = "harmonic"
    reads = (ANY,)
    labels = ()

    def check_columns(self, data: Data) -> None:
        if not any(new_label(label) in data.classes for label in data.classes):
            raise NotApplicableError(
                f"{self.name} asks about classes that training lacks, and {data.name!r} has none: write --labels "
                "LABEL,new=0.5, or leave the task out"
            )

    def __call__(self, model: Classifier, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        target, base = truth(model, data, rows, self.name)
        if (name := new_label(target.label)) not in data.classes:
            raise NotApplicableError(
                f"{self.name} needs the label {name}, which {data.name!r} does not have: write --labels "
                f"{target.label},new=0.5, or leave the task out"
            )
        new = data.classes[name]
        outcomes = {"base": _hits(model, data, rows, base)}
        metrics = {"base": Metric("base", mean, chance=1 / len(target.classes))}
        try:
            other = model.renamed(new.names) if isinstance(model, RenamesClasses) else None
        except LookupError:
            other = None
        if other is not None and new.known[rows].any():
            outcomes["new"] = _hits(other, data, rows, new.values[rows])
            of_new = ~np.isnan(outcomes["new"])
            outcomes["hit"] = np.where(of_new, outcomes["new"], outcomes["base"])
            outcomes["is_new"] = np.where(np.isnan(outcomes["hit"]), np.nan, of_new)
            metrics["new"] = Metric("new", mean, chance=1 / len(new.names))
            metrics["harmonic"] = Metric(("is_new", "hit"), harmonic_mean)
        return scores(self.name, data, rows, outcomes, metrics)


def _hits(model: Classifier, data: Data, rows: Rows, classes: np.ndarray) -> np.ndarray:
    """Return 1 where a model names the class of a row, else 0; NaN where the row has none, or the model no answer."""
    asked = np.flatnonzero(classes >= 0)
    p = probabilities(model, data, rows[asked])
    hits = np.full(len(rows), np.nan)
    answered = ~np.isnan(p).any(1)
    hits[asked[answered]] = p[answered].argmax(1) == classes[asked[answered]]
    return hits
