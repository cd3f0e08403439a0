"""Finding examples of the same class."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...data.base import Data, Rows
from ...data.columns import ANY, subject, way, words
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

KS = (1, 5, 10, 50)


class LabelRetrieval(EmbedderTask):
    """Precision@K: the fraction of the K pictures, or other examples, found first that have the query's class.

    Image to image (``i2i``): every labelled picture of the test set queries the others. Text to image
    (``t2i``): its first evaluation caption queries the pictures of the other rows. The query's own row is
    never an answer. Of data without pictures the first column that is no text takes their place (``a2a``, ``t2a``), of
    texts alone the first. A model, or data, without texts has the first of the two alone. Where answers tie at the K-th
    place, the expectation over their order counts. Undefined (NaN) where there are fewer than K answers.

    Metrics: ``i2i_LABEL_P@1``, ``P@5``, ``P@10``, ``P@50`` and the same for ``t2i``; chance is the mean frequency of
    the query's class among its answers, and the best constant answer are pictures of the commonest class. Main
    metrics are the ``t2i_LABEL_P@10``, that of the first of `main_labels` before all, then the ``i2i_LABEL_P@10``.

    Args:
        labels: which labels; all that the data has unless given.

    Raises:
        NotApplicableError: if the data has none of the labels, or the model embeds none of the columns.
        ValueError: if there are fewer than two rows.

    Source: convirt (Zhang et al. 2020), zero-shot retrieval on CheXpert 8x200 (there with separate query
    files).
    """

    family = "retrieval"
    name = "label_retrieval"
    papers = ("convirt",)
    modalities = (ANY,)
    reads = (ANY,)
    least = 2

    def __init__(self, labels: tuple[str, ...] = ()) -> None:
        self.labels: tuple[str, ...] = labels

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        column, text_column = subject(data.columns), words(data.columns)
        if column is None:
            return ()
        directions = [way(data.columns, query, column) for query in _query_columns(text_column, column)]
        return tuple(
            f"{each}_{label}_P@10" for each in directions for label in main_labels(data, self.labels)
        )

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name, self.least)
        features = EmbeddingCache.of(model, data)
        column, text_column = asked_column(self.name, features), words(features.shared)
        there = np.all([data.present(query, rows) for query in _query_columns(text_column, column)], axis=0)
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for label in check_labels(data, self.labels, self.name):
            labelled = np.flatnonzero((data.classes[label].values[rows] >= 0) & there)
            mine = rows[labelled]
            values = torch.from_numpy(data.classes[label].values[mine])
            counts = np.bincount(values.numpy(), minlength=1)[values.numpy()]
            chance = float(np.mean((counts - 1) / max(len(mine) - 1, 1))) if len(mine) else None
            gallery = features.column(column, mine)
            for query in _query_columns(text_column, column):
                direction = way(data.columns, query, column)
                by_k = precisions(features, features.column(query, mine), gallery, values)
                for k, precision in by_k.items():
                    name = f"{direction}_{label}_P@{k}"
                    outcomes[name] = scatter(precision, labelled, len(rows))
                    metrics[name] = Metric(
                        name, mean, chance=chance, constant=always_commonest(data.classes[label].values[rows])
                    )
        return scores(self.name, data, rows, outcomes, metrics)


def _query_columns(text_column: str | None, column: str) -> tuple[str, ...]:
    """Return the columns whose examples are queries: texts, where there are some, and what is looked for itself."""
    return tuple(dict.fromkeys(filter(None, (text_column, column))))


def precisions(
    model: Embedder, queries: Float[Tensor, "n d"], gallery: Float[Tensor, "n d"], classes: Int[Tensor, " n"]
) -> dict[int, Float[np.ndarray, " n"]]:
    """Return precision@K of every row's query among the other rows, by K."""
    n = len(gallery)
    by_k: dict[int, list[Tensor]] = {k: [] for k in KS}
    for part in row_chunks(n, n):
        panel = similarity(model, queries[part], gallery)
        panel.diagonal(part.start).fill_(-torch.inf)
        same: Bool[Tensor, "p n"] = classes[part, None] == classes[None, :]
        same.diagonal(part.start).fill_(False)
        ordered = panel.sort(dim=1, descending=True).values
        for k in KS:
            if k > n - 1:
                by_k[k].append(torch.full((len(panel),), torch.nan, dtype=torch.float64))
                continue
            last = ordered[:, k - 1 : k]
            above, tied = panel > last, panel == last
            sure = (above & same).sum(1)
            share = (k - above.sum(1)) * (tied & same).sum(1) / tied.sum(1)
            by_k[k].append((sure + share).double() / k)
    return {k: torch.cat(parts).numpy() if parts else np.zeros(0) for k, parts in by_k.items()}
