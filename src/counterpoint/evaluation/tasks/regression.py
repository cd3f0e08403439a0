"""Numbers that are read from frozen embeddings of a column."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.base import Data, Rows
from ...data.bins import bin_of, edges_of
from ...data.columns import ANY
from ...data.embeddings import EmbeddingCache
from ...data.labels import Numbers
from ...types import Constant, Embedder, Metric, Scores
from ..shots import by_shot, rows_of_classes, training_rows
from ..statistic import mean, mean_absolute_error, spearman
from ..task import (
    EmbedderTask,
    asked_column,
    check_labels,
    check_rows,
    check_training,
    main_labels,
    row_chunks,
    scatter,
    scores,
    similarity,
    subsample_by_hash,
)

OTHERS = 1000
"""Examples at most that the distances from each are ranked of."""


class Regression(EmbedderTask):
    """Ridge regression of a number on the first head's embeddings of pictures, and the order of embeddings.

    Where the data has no pictures, the features are those of the first column that is no text; where it has texts
    alone, those of texts. Learned from at most ``limit`` training rows (and as many more as give every range 20 where
    it has them), features standardised by them; the penalty is the best of 10⁻³ … 10³ by leaving out one row at a
    time.

    Metrics: ``ridge_LABEL_mae``, the mean absolute error in the label's unit, the main one; ``ridge_LABEL_many_mae``,
    ``…_medium_mae``, ``…_few_mae``, of numbers in ranges with so many training rows (20 ranges of equal width, or
    single numbers where there are fewer; cut as in `counterpoint.evaluation.shots`);
    ``ridge_LABEL_spearman``, the rank correlation of true and predicted numbers; and ``LABEL_ordinality``, the mean
    over examples i of the rank correlation over the others j of ``|y_i − y_j|`` and the embeddings' distance: 1 where
    embeddings lie in the order of the numbers, 0 by chance. The best constant answer is the median. Rows without the
    number have no outcome.

    Args:
        labels: which labels; all numbers that the data has unless given.
        limit: training rows at most, but for rare ranges.

    Raises:
        NotApplicableError: for data without numbers, or a model that embeds none of its columns.
        ValueError: if there are no rows, or no training rows.

    Source: supremix (Wu et al. 2023), for errors by shot and the order of embeddings.
    """

    family = "regression"
    name = "regression"
    modalities = (ANY,)
    reads = (ANY,)
    learns = True
    kind = Numbers

    def __init__(self, labels: tuple[str, ...] = (), limit: int = 1000) -> None:
        self.labels: tuple[str, ...] = labels
        self.limit = limit

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        return tuple(f"ridge_{label}_mae" for label in main_labels(data, self.labels, Numbers))

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        labels = check_labels(data, self.labels, self.name, Numbers)
        check_training(self, data)
        features = EmbeddingCache.of(model, data)
        column = asked_column(self.name, features)
        there, train = data.present(column, rows), data.splits.train
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for label in labels:
            y = data.labels_of(Numbers)[label].values
            edges = edges_of(y[train])
            ranges = rows_of_classes(train, bin_of(y, edges), len(edges) - 1)
            chosen = training_rows(data, column, label, ranges, self.limit, self.name)
            test = np.flatnonzero(~np.isnan(y[rows]) & there)
            truth, read = scatter(y[rows[test]], test, len(rows)), f"ridge_{label}"
            outcomes |= {label: truth, read: np.full(len(rows), np.nan)}
            if len(chosen) > 1 and len(test):
                learned, queries = (features.column(column, some).numpy() for some in (chosen, rows[test]))
                outcomes[read] = scatter(ridge(learned, y[chosen], queries), test, len(rows))
            parts = {"": truth}
            for shot, which in by_shot(np.array([len(of_range) for of_range in ranges])).items():
                outcomes[f"{label}_{shot}"] = np.where(
                    which[bin_of(truth, edges)], truth, np.nan
                )  # NaN where truth is
                parts[f"_{shot}"] = outcomes[f"{label}_{shot}"]
            for suffix, part in parts.items():
                metrics[f"{read}{suffix}_mae"] = Metric(
                    (f"{label}{suffix}", read), mean_absolute_error, False, constant=_always_median(part)
                )
            metrics[f"{read}_spearman"] = Metric((label, read), spearman, chance=0.0)
            others = subsample_by_hash(data, rows[test], OTHERS, self.name)
            z = features.column(column, rows[test])
            outcomes[f"{label}_ordinality"] = scatter(
                ordinality(features, z, y[rows[test]], others), test, len(rows)
            )
            metrics[f"{label}_ordinality"] = Metric(f"{label}_ordinality", mean, chance=0.0)
        return scores(self.name, data, rows, outcomes, metrics)


def ridge(
    train: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], test: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, " m"]:
    """Predict numbers by ridge regression on standardised features, its penalty chosen by leaving out one row."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13)))
    return np.asarray(model.fit(train.astype(np.float64), y).predict(test.astype(np.float64)))


def ordinality(
    model: Embedder, z: Float[Tensor, "n d"], y: Float[np.ndarray, " n"], others: Int[np.ndarray, " m"]
) -> Float[np.ndarray, " n"]:
    """Return for each example the rank correlation of the others' distances from it, by number and by embedding.

    0 where all others are equally far; NaN where there are fewer than two others.

    Args:
        model: whose similarity falls with the distance.
        z, y: embeddings and numbers of the examples.
        others: the positions of those that distances are measured to; never to an example itself.
    """
    from scipy.stats import spearmanr  # here, as it takes half a second

    correlations = np.full(len(z), np.nan)
    for part in row_chunks(len(z), len(others)):
        panel = -similarity(model, z[part], z[torch.from_numpy(others)]).double().numpy()
        for i, distances in zip(range(len(z))[part], panel, strict=True):
            kept = others != i
            if kept.sum() > 1:
                pair = np.abs(y[others[kept]] - y[i]), distances[kept]
                flat = min(np.ptp(one) for one in pair) == 0
                correlations[i] = 0.0 if flat else spearmanr(*pair).statistic
    return correlations


def _always_median(y: Float[np.ndarray, " n"]) -> Constant:
    """Return the mean absolute error of always answering the median."""
    return lambda rows: float(np.abs(y[rows] - np.median(y[rows])).mean())
