"""Auditing of labels: which rows to train on probably have a wrong class or lack a tag, and what they should have."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int

from ..data.base import Data, Rows
from ..data.embeddings import EmbeddingCache
from ..data.labels import Tags
from ..types import Embedder, JudgesLabels
from .classifiers import class_probabilities, tag_probabilities
from .predictions import probabilities
from .task import asked_column

PAPERS = {"bmm-bootstrapping": ("suspects",), "comic": ("suspects",)}

_FOLDS = 5


def suspects(model: Embedder, data: Data, rows: Rows, label: str) -> pl.DataFrame:
    """Return the rows whose class is probably wrong, or that probably lack a tag, the surest first.

    A model that judges the labels it learned from (``m-dyr``) says how likely each is wrong: suspects are those above
    one half. Of any other model a logistic regression reads its frozen embeddings, five-fold, so that no row is judged
    by a classifier that has seen its class, as one that was trained on wrong labels has learned them too: suspects are
    rows that it takes for another class, and the probability is that of all classes but the given one.

    For tags, ``comic`` judges its own, and regressions of the others read embeddings: a row probably lacks the
    likeliest of those that seem not to apply to it, with its probability. Tags that a row has are taken to be right.

    Args:
        model: whose embeddings or judgement count.
        data: of which the labels are to be looked at, as training saw them.
        rows: to look at; those without a class, or without what is embedded, are left out, and so are classes of one
            row, of which nothing is known.
        label: by name.

    Returns:
        ``row``, ``key``, ``given`` and ``proposed`` class, and ``probability`` that the given one is wrong; of tags
        those given, one to add, and the probability that it applies.

    Raises:
        ValueError: for rows of fewer than two classes, or fewer than two rows with tags.
    """
    labels = data.label(label, "classes", "tags")
    rows = rows[data.present(asked_column("audit", EmbeddingCache.of(model, data)), rows)]
    if isinstance(labels, Tags):
        return _lacking(model, data, rows[labels.known[rows]], label, labels)
    names, classes = labels.names, labels.values[rows]
    counts = np.bincount(classes[classes >= 0], minlength=len(names))
    kept = (classes >= 0) & (counts[classes] > 1)
    rows, classes = rows[kept], classes[kept]
    if len(np.unique(classes)) < 2:
        raise ValueError(
            f"an audit of {label} needs two classes of two rows each to compare, and these rows have "
            f"{len(np.unique(classes))}: name another label"
        )
    wrong, p = _judgement(model, data, rows, classes, label)
    others = p.copy()
    others[np.arange(len(rows)), classes] = -1.0
    return _table(data, rows, [names[k] for k in classes], [names[k] for k in others.argmax(1)], wrong)


def judges(model: object, label: str) -> bool:
    """Return whether a model judges the labels that it learned from, and they are of this label."""
    return isinstance(model, JudgesLabels) and model.target is not None and model.target.label == label


def cross_validated(
    features: Float[np.ndarray, "n d"], classes: Int[np.ndarray, " n"], k: int
) -> Float[np.ndarray, "n k"]:
    """Return the probability of every class for each row, by logistic regression on the rows of other folds.

    The rows of a class are dealt out to five folds in turn, so that folds are alike in their classes.
    """
    order = np.random.default_rng(0).permutation(len(classes))
    fold = np.empty(len(classes), dtype=np.int64)
    for number in np.unique(classes):
        members = order[classes[order] == number]
        fold[members] = np.arange(len(members)) % _FOLDS
    p = np.zeros((len(classes), k))
    for number in range(_FOLDS):
        held, read = fold == number, fold != number
        if held.any():
            p[held] = class_probabilities(features[read], classes[read], k)(features[held])
    return p


def _judgement(
    model: Embedder, data: Data, rows: Rows, classes: Int[np.ndarray, " n"], label: str
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n k"]]:
    """Return the probability that each row's class is wrong, and that of every class."""
    if isinstance(model, JudgesLabels) and judges(model, label):
        wrong = model.wrong(torch.from_numpy(data.ids_of(rows))).double().cpu().numpy()
        if not np.isnan(wrong).any():  # else the run ended before it judged
            return wrong, np.nan_to_num(probabilities(model, data, rows))
    p = cross_validated(_features(model, data, rows), classes, len(data.classes[label].names))
    # What it takes for the given class is no suspect, however unsure it is.
    return np.where(p.argmax(1) == classes, 0.0, 1 - p[np.arange(len(rows)), classes]), p


def _lacking(model: Embedder, data: Data, rows: Rows, label: str, tags: Tags) -> pl.DataFrame:
    """Return the rows that probably lack a tag."""
    if len(rows) < 2:
        raise ValueError(
            f"an audit of {label} needs two rows with tags to compare, and here are {len(rows)}: name another label"
        )
    values = tags.values[rows]
    wrong, p = _tag_judgement(model, data, rows, values, label)
    others = np.where(values == 0, p, -np.inf)
    given = ["|".join(tags.names[k] for k in np.flatnonzero(row == 1)) for row in values]
    return _table(data, rows, given, [tags.names[k] for k in others.argmax(1)], wrong)


def _tag_judgement(
    model: Embedder, data: Data, rows: Rows, values: Int[np.ndarray, "n C"], label: str
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n C"]]:
    """Return the probability that each row lacks a tag, and numbers whose largest says which."""
    if isinstance(model, JudgesLabels) and judges(model, label):
        wrong = model.wrong(torch.from_numpy(data.ids_of(rows))).double().cpu().numpy()
        if not np.isnan(wrong).any():  # else the run ended before it judged
            p = np.nan_to_num(probabilities(model, data, rows))
            # What every row has is lacking in none: such tags were not judged, and come behind all others.
            return wrong, np.where(p > p.mean(0), p, p - 1)
    features = _features(model, data, rows)
    fold = np.random.default_rng(0).permutation(len(rows)) % _FOLDS
    p = np.zeros(values.shape)
    for number in np.unique(fold):
        held = fold == number
        p[held] = tag_probabilities(features[~held], values[~held])(features[held])
    return np.where(values == 0, p, -1.0).max(1), p


def _table(
    data: Data, rows: Rows, given: list[str], proposed: list[str], wrong: Float[np.ndarray, " n"]
) -> pl.DataFrame:
    """Return those rows that are likelier wrong than not, the surest first."""
    order = np.flatnonzero(wrong > 0.5)
    order = order[np.argsort(-wrong[order], kind="stable")]
    return pl.DataFrame(
        {
            "row": rows[order],
            "key": [data.key(int(row)) for row in rows[order]],
            "given": [given[k] for k in order],
            "proposed": [proposed[k] for k in order],
            "probability": wrong[order],
        },
        schema={
            "row": pl.Int64,
            "key": pl.String,
            "given": pl.String,
            "proposed": pl.String,
            "probability": pl.Float64,
        },
    )


def _features(model: Embedder, data: Data, rows: Rows) -> Float[np.ndarray, "n d"]:
    features = EmbeddingCache.of(model, data)
    return features.column(asked_column("audit", features), rows).numpy()
