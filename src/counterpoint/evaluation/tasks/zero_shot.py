"""Naming what is in a picture, or in another example, without training on the names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.base import Data, Rows
from ...data.columns import ANY, TEXT
from ...data.embeddings import EmbeddingCache
from ...data.labels import Classes
from ...types import Embedder, Metric, Scores
from ..statistic import always_commonest, always_one_class, mean, mean_per_class
from ..task import (
    EmbedderTask,
    asked_column,
    check_labels,
    check_rows,
    main_labels,
    scatter,
    scores,
    similarity,
    top1,
)

MIXES = tuple(w / 10 for w in range(1, 10))


class ZeroShot(EmbedderTask):
    """Zero-shot classification for every label of the data.

    A class is the normalised mean of the normalised embeddings of all its templates; a picture belongs to the
    class of highest similarity. All classes of a label compete, also those without an example in the test
    set. Classes that tie share the hit. Of data without pictures it is the first column that is no text.

    Metrics per label: ``LABEL_top1`` and ``LABEL_mean_per_class`` (over the classes that occur). Chance is
    1/classes; the best constant answer names the commonest class. Main metrics are the ``LABEL_top1``, that of the
    first of `main_labels` before all. The first head has the plain names; others are ``group_top1[local]``; a model
    with heads ``global`` and ``local`` also gets ``group_top1[mixed w]``, w in 0.1 … 0.9, whose similarity is
    ``w · global + (1 − w) · local``. ``LABEL_predicted`` is the class predicted by the first head. Rows without the
    label, or without the column, have no outcome, and a label with fewer than two classes has none at all (NaN).

    Args:
        labels: which labels; all that the data has unless given.

    Raises:
        NotApplicableError: if the data has none of the labels, or the model embeds none of its columns.
        ValueError: if there are no rows.

    Source: clip-rocket (Fini et al. 2023), its evaluation.
    """

    family = "classification"
    name = "zero_shot"
    papers = ("clip-rocket",)
    modalities = (ANY, TEXT)
    reads = (ANY,)

    def __init__(self, labels: tuple[str, ...] = ()) -> None:
        self.labels: tuple[str, ...] = labels

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        return tuple(f"{label}_top1" for label in main_labels(data, self.labels))

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        features = EmbeddingCache.of(model, data)
        column = asked_column(self.name, features)
        there = data.present(column, rows)
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for label in check_labels(data, self.labels, self.name):
            names, values = data.classes[label].names, data.classes[label].values[rows]
            labelled = np.flatnonzero((values >= 0) & there & (len(names) > 1))
            truth, chance = values[labelled], 1 / max(len(names), 1)
            columns: dict[str, np.ndarray] = {f"{label}_class": truth}
            for suffix, panel in class_similarities(features, column, rows[labelled], data.classes[label]):
                hits = top1(panel, torch.from_numpy(truth))
                columns[f"{label}_top1{suffix}"] = hits
                metrics[f"{label}_top1{suffix}"] = Metric(
                    f"{label}_top1{suffix}", mean, chance=chance, constant=always_commonest(values)
                )
                metrics[f"{label}_mean_per_class{suffix}"] = Metric(
                    (f"{label}_class", f"{label}_top1{suffix}"),
                    mean_per_class,
                    chance=chance,
                    constant=always_one_class(values),
                )
                if not suffix:
                    columns[f"{label}_predicted"] = panel.argmax(1).numpy()
            outcomes |= {name: scatter(column, labelled, len(rows)) for name, column in columns.items()}
        return scores(self.name, data, rows, outcomes, metrics)


def class_similarities(
    features: EmbeddingCache, column: str, rows: Rows, labels: Classes
) -> Iterator[tuple[str, Float[Tensor, "n k"]]]:
    """Yield the similarity of rows and classes for every head and mix, with the suffix of its metrics."""

    def panel(head: str) -> Float[Tensor, "n k"]:
        if not len(rows):
            return torch.zeros(0, max(len(labels.names), 1))
        return similarity(features, features.column(column, rows, head), features.classes(labels, head))

    for number, head in enumerate(features.heads):
        yield "" if number == 0 else f"[{head}]", panel(head)
    if {"global", "local"} <= set(features.heads):
        z, h = panel("global"), panel("local")
        for w in MIXES:
            yield f"[mixed {w}]", w * z + (1 - w) * h
