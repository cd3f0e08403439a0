"""Tags of which several may apply to an example, read from frozen embeddings or given by the model itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int

from ...data.base import Data, Rows
from ...data.columns import ANY
from ...data.embeddings import EmbeddingCache
from ...data.labels import Tags
from ...types import Classifier, Constant, Embedder, Metric, Scores
from ..classifiers import tag_probabilities
from ..multilabel import precision, ranking_precision, recall
from ..predictions import probabilities
from ..several import mean_average_precision, overall_f1, per_class_f1
from ..shots import by_shot, training_rows
from ..statistic import mean
from ..task import (
    EmbedderTask,
    NotApplicableError,
    asked_column,
    check_labels,
    check_rows,
    check_training,
    is_classifier,
    main_labels,
    scatter,
    scores,
)

KS = (1, 3, 5)


class MultiLabel(EmbedderTask):
    """Tags by one logistic regression each on the first head's embeddings of pictures, and by the model's own answer.

    Where the data has no pictures, the embeddings are those of the first column that is no text; where it has texts
    alone, those of texts. Learned from at most ``limit`` training rows, and as many more as give every tag 20 rows
    that have it. What is not known of a row is neither learned from nor asked. A model that learned the tags answers
    too. One that learned them on frozen towers gives its own answer alone, which then is the main one: all such models
    have the same embeddings.

    Metrics, for the regressions as ``logistic_LABEL_…`` and for the model's own answer as ``own_LABEL_…``: ``mAP``, the
    mean average precision of the tags that some example has (main, of the regressions); ``mAP_many``, ``_medium``,
    ``_few``, of tags with so many training rows (`counterpoint.evaluation.shots`); ``CF1`` and
    ``OF1``, by tag and overall at a probability of 0.5; ``P@1``, ``P@3``, ``P@5``, how many of an example's likeliest
    tags are true; ``R-precision``, the same of as many as it has (R@|P|); and ``LRAP``, the precision at each of an
    example's true tags on average. The mAP of all equal answers is how common tags are, which is chance; the best
    constant answer for P@k are the k commonest tags. Rows of which no tag is known have no outcome; those without any
    tag have no ``R-precision`` and no ``LRAP``.

    Args:
        labels: which labels; all tags that the data has unless given.
        limit: training rows at most, but for rare tags.

    Raises:
        NotApplicableError: for data without tags, for rows none of which has a tag, or a model that embeds none of the
            columns.
        ValueError: if there are no rows, or no training rows.

    Source: comic (Zhang et al. 2023), for its metrics by shot; CF1 and OF1 as in multi-label recognition on COCO.
    """

    family = "classification"
    name = "multi_label"
    modalities = (ANY,)
    reads = (ANY,)
    learns = True
    kind = Tags

    def __init__(self, labels: tuple[str, ...] = (), limit: int = 1000) -> None:
        self.labels: tuple[str, ...] = labels
        self.limit = limit

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        return tuple(f"logistic_{label}_mAP" for label in main_labels(data, self.labels, Tags))

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        labels = check_labels(data, self.labels, self.name, Tags)
        check_training(self, data)
        features = EmbeddingCache.of(model, data)
        column = asked_column(self.name, features)
        there = data.present(column, rows)
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for label in labels:
            tags = data.labels_of(Tags)[label]
            positions = np.flatnonzero(there & tags.known[rows])
            truth = np.full((len(rows), len(tags.names)), np.nan)
            truth[positions] = tags.values[rows[positions]]
            if not (truth == 1).any():
                continue
            outcomes |= {f"{label}: {tag}": truth[:, k] for k, tag in enumerate(tags.names)}
            counts = (tags.values[data.splits.train] == 1).sum(0)
            for reader, p in self._probabilities(features, column, label, tags, rows, positions):
                columns, of_reader = _reader_outcomes(f"{reader}_{label}", label, tags, truth, p, counts)
                outcomes |= columns
                metrics |= of_reader
        if not metrics:
            raise NotApplicableError(
                f"{self.name} asks about the tags {', '.join(labels)}, and no row of this test set of {data.name!r} "
                "has one: leave the task out"
            )
        result = scores(self.name, data, rows, outcomes, metrics)
        own = tuple(name for name in metrics if name.startswith("own_") and name.endswith("_mAP"))
        return replace(result, main=own) if _is_adapted(features.model) else result

    def _probabilities(
        self,
        features: EmbeddingCache,
        column: str,
        label: str,
        tags: Tags,
        rows: Rows,
        positions: Int[np.ndarray, " m"],
    ) -> list[tuple[str, Float[np.ndarray, "n C"]]]:
        """Return the probability of every tag by each reader, NaN of rows that it is not asked about."""
        data, model = features.data, features.model
        own: list[tuple[str, Float[np.ndarray, "n C"]]] = []
        if is_classifier(model) and model.target is not None and model.target.label == label:
            p = np.full((len(rows), len(tags.names)), np.nan)
            p[positions] = probabilities(model, data, rows)[positions]
            own.append(("own", p))
            if _is_adapted(model):
                return own
        train = data.splits.train
        members = [train[of_tag == 1] for of_tag in tags.values[train].T]
        chosen = training_rows(data, column, label, members, self.limit, self.name)
        read = tag_probabilities(features.column(column, chosen).numpy(), tags.values[chosen])
        p = np.full((len(rows), len(tags.names)), np.nan)
        p[positions] = read(features.column(column, rows[positions]).numpy())
        return [("logistic", p), *own]


def _is_adapted(model: Embedder | Classifier) -> bool:
    """Return whether a model is a classifier that was fitted to features of frozen towers in closed form."""
    return getattr(model, "closed", False)


def _reader_outcomes(
    name: str,
    label: str,
    tags: Tags,
    truth: Float[np.ndarray, "n C"],
    p: Float[np.ndarray, "n C"],
    counts: Int[np.ndarray, " C"],
) -> tuple[dict[str, np.ndarray], dict[str, Metric]]:
    """Return the outcomes of a reader and the metrics made of them."""
    n = len(truth)
    outcomes = {f"{name}: {tag}": p[:, k] for k, tag in enumerate(tags.names)}
    metrics: dict[str, Metric] = {}

    def columns(of: Int[np.ndarray, " m"]) -> tuple[str, ...]:
        return tuple(f"{side}: {tags.names[k]}" for side in (label, name) for k in of)

    every = np.arange(len(tags.names))
    parts = {"": every} | {f"_{shot}": np.flatnonzero(of) for shot, of in by_shot(counts).items()}
    for suffix, of in parts.items():
        if (truth[:, of] == 1).any():
            common = _common(truth[:, of])
            chance = common(np.flatnonzero(~np.isnan(truth[:, 0])))
            metrics[f"{name}_mAP{suffix}"] = Metric(
                columns(of), mean_average_precision, chance=chance, constant=common
            )
    metrics[f"{name}_CF1"] = Metric(columns(every), per_class_f1)
    metrics[f"{name}_OF1"] = Metric(columns(every), overall_f1)
    positions = np.flatnonzero(~np.isnan(p).any(1))
    true, known = truth[positions] == 1, truth[positions] >= 0
    ranked, targets = torch.from_numpy(np.where(known, p[positions], -np.inf)), torch.from_numpy(true)
    by_example: dict[str, tuple[np.ndarray, Constant | None]] = {
        f"P@{k}": (
            np.where(known.sum(1) >= k, precision(ranked, targets, k), np.nan),
            _commonest(truth, k),
        )
        for k in KS
        if k <= len(tags.names)
    }
    by_example["R-precision"] = recall(ranked, targets, targets.sum(1)), None
    by_example["LRAP"] = ranking_precision(ranked, targets), None
    for metric, (values, constant) in by_example.items():
        outcomes[f"{name}_{metric}"] = scatter(values, positions, n)
        metrics[f"{name}_{metric}"] = Metric(f"{name}_{metric}", mean, constant=constant)
    return outcomes, metrics


def _common(truth: Float[np.ndarray, "n m"]) -> Constant:
    """Return how common the tags are that some example has, among the examples of which it is known."""

    def share(rows: Int[np.ndarray, " k"]) -> float:
        there, known = (truth[rows] == 1).sum(0), (truth[rows] >= 0).sum(0)
        return float((there[there > 0] / known[there > 0]).mean()) if there.any() else 0.0

    return share


def _commonest(truth: Float[np.ndarray, "n C"], k: int) -> Constant:
    """Return what always naming the k commonest tags scores, of each example those of which something is known."""

    def score(rows: Int[np.ndarray, " some"]) -> float:
        there, known = truth[rows] == 1, truth[rows] >= 0
        order = np.argsort(-there.sum(0) / np.maximum(known.sum(0), 1), kind="stable")
        named = known[:, order] & (known[:, order].cumsum(1) <= k)
        return float((there[:, order] & named).sum() / (k * len(rows)))

    return score
