"""Verification: telling pairs of one class, as of one speaker, from pairs of two."""

from __future__ import annotations

import numpy as np
import torch

from ...data.base import Data, Rows
from ...data.columns import ANY
from ...data.embeddings import EmbeddingCache
from ...types import Embedder, Metric, Scores
from ..statistic import mean
from ..task import (
    EmbedderTask,
    asked_column,
    check_labels,
    check_rows,
    main_labels,
    row_chunks,
    scatter,
    similarity,
    subsample_by_hash,
    table,
)
from ..verification import equal_error_components


class Verification(EmbedderTask):
    """The equal error rate of a similarity that should tell pairs of one class from pairs of two.

    Any two pictures, sounds or other examples of a test set are a trial, of those that have the label. At the threshold
    where as many pairs of one class are missed as pairs of two are accepted, ``LABEL_eer`` is the share of either: 0 is
    perfect, 1/2 chance. Examples are those of the first column that is no text, of texts alone those of the first. The
    rate is a mean over examples (`counterpoint.evaluation.equal_error_components`), so it is resampled as other metrics
    are; it is not told of subsets, between which most pairs are. Undefined (NaN) where no two are of one class, or all
    are. Nothing is learned: classes may be new ones.

    Main metrics are the ``LABEL_eer``, that of the first of `main_labels` before all.

    Args:
        labels: which labels; all that the data has unless given.
        limit: examples at most, whose pairs are all compared.

    Raises:
        NotApplicableError: if the data has none of the labels, or the model embeds none of the columns.
        ValueError: if there are fewer than three rows.

    Source: speaker verification, as in contrastive-margins-sv (Lepage and Dehak 2023), arXiv 2306.03664.
    """

    family = "retrieval"
    name = "verification"
    papers = ("contrastive-margins-sv",)
    modalities = (ANY,)
    reads = (ANY,)
    least = 3

    def __init__(self, labels: tuple[str, ...] = (), limit: int = 2000) -> None:
        self.labels: tuple[str, ...] = labels
        self.limit = limit

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        return tuple(f"{label}_eer" for label in main_labels(data, self.labels))

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name, self.least)
        features = EmbeddingCache.of(model, data)
        column = asked_column(self.name, features)
        there = data.present(column, rows)
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for label in check_labels(data, self.labels, self.name):
            classes = data.classes[label].values[rows]
            labelled = np.flatnonzero((classes >= 0) & there)
            tried = labelled[subsample_by_hash(data, rows[labelled], self.limit, self.name)]
            same = classes[tried, None] == classes[None, tried]
            components = np.full(len(tried), np.nan)
            if len(tried) < same.sum() < same.size:  # some pairs of one class, and some of two
                z = features.column(column, rows[tried])
                panels = [similarity(features, z[part], z) for part in row_chunks(len(z), len(z))]
                components = equal_error_components(torch.cat(panels).double().numpy(), same)
            name = f"{label}_eer"
            outcomes[name] = scatter(components, tried, len(rows))
            metrics[name] = Metric(name, mean, higher_is_better=False, chance=0.5)
        # A pair is of two subsets as often as of one: what a subset adds to the rate is not its own.
        return table(self.name, data.ids[rows], ["all"] * len(rows), outcomes, metrics)
