"""The training examples that are nearest to a test example, as they would be shown to a model in context."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.base import Data, Rows
from ...data.columns import ANY
from ...data.embeddings import EmbeddingCache
from ...types import Embedder, Metric, Scores
from ..statistic import always_commonest, mean
from ..task import (
    EmbedderTask,
    asked_column,
    check_labels,
    check_rows,
    main_labels,
    row_chunks,
    scatter,
    scores,
    similarity,
)

KS = (1, 3, 5, 7)


class Neighbours(EmbedderTask):
    """Classes of the K training examples that are nearest to a test example by the model's similarity.

    ``LABEL_purity@K`` is the share of them that have its class, for K of 1, 3, 5 and 7. ``LABEL_vote@K`` is the
    accuracy of the class that most of them have; classes that tie share the hit. A model that is shown these examples
    in context must beat the vote to be credited with more than copying. Of equal similarities the earlier row counts.
    The chance of a purity is the share of a class among the training examples, the mean over test examples. Labels
    that show domains of test rows are not used.

    Args:
        labels: which labels; all that the data has unless given.

    Raises:
        NotApplicableError: if the data has none of the labels, or the model embeds none of the columns.
        ValueError: if there are no rows, or fewer training rows of a label than K.

    Source: Zhou et al., "Adapting Large Multimodal Models to Distribution Shifts: The Role of In-Context Learning"
    (2024), arXiv 2405.12217: TopKNearestPR.
    """

    family = "classification"
    name = "neighbours"
    papers = ("invariantselectpr",)
    modalities = (ANY,)
    reads = (ANY,)

    def __init__(self, labels: tuple[str, ...] = ()) -> None:
        self.labels: tuple[str, ...] = labels

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        return tuple(f"{label}_purity@{KS[-1]}" for label in main_labels(data, self.labels))

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        features = EmbeddingCache.of(model, data)
        column = asked_column(self.name, features)
        train = data.splits.train[data.present(column, data.splits.train)]
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for label in check_labels(data, self.labels, self.name):
            values = data.classes[label].values
            pool, asked = (
                train[values[train] >= 0],
                np.flatnonzero((values[rows] >= 0) & data.present(column, rows)),
            )
            check_rows(data, pool, self.name, max(KS), "training set")
            queries = rows[asked]
            near = nearest(features, features.column(column, queries), features.column(column, pool))
            classes, own = values[pool][near.numpy()], values[queries]
            shares = np.bincount(values[pool], minlength=values.max() + 1) / len(pool)
            by_chance = float(shares[own].mean()) if len(own) else None
            for k in KS:
                purity, vote = (classes[:, :k] == own[:, None]).mean(1), votes(classes[:, :k], own)
                for name, of, chance in (("purity", purity, by_chance), ("vote", vote, None)):
                    key = f"{label}_{name}@{k}"
                    outcomes[key] = scatter(of, asked, len(rows))
                    metrics[key] = Metric(key, mean, chance=chance, constant=always_commonest(values[rows]))
        return scores(self.name, data, rows, outcomes, metrics)


def nearest(model: Embedder, queries: Float[Tensor, "n e"], pool: Float[Tensor, "m d"]) -> Int[Tensor, "n K"]:
    """Return the positions of the most similar members of the pool, the nearest first."""
    if not len(queries):  # embeddings of no rows have no width
        return torch.zeros(0, KS[-1], dtype=torch.long)
    parts = [
        similarity(model, queries[part], pool).sort(dim=1, descending=True, stable=True).indices[:, : KS[-1]]
        for part in row_chunks(len(queries), len(pool))
    ]
    return torch.cat(parts)


def votes(classes: Int[np.ndarray, "n k"], own: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return 1 where most of some classes are one's own; where it ties with others, its share of the hit.

    >>> votes(np.array([[1, 1, 2], [1, 2, 3]]), np.array([1, 3])).tolist()
    [1.0, 0.3333333333333333]
    """
    counts = (classes[:, :, None] == classes[:, None, :]).sum(2)  # of each member's class
    mine = (classes == own[:, None]).sum(1)
    best = counts.max(1, initial=0)
    tied = ((counts == best[:, None]) / np.maximum(counts, 1)).sum(1)
    return np.where((mine == best) & (mine > 0), 1 / np.maximum(tied, 1), 0.0)
