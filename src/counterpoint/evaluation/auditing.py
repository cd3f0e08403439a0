"""Auditing of labels: which rows to train on probably have a wrong class, and which one they should have."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int

from ..data.base import Data, Rows
from ..data.embeddings import EmbeddingCache
from ..types import Embedder, JudgesLabels
from .classification.asked import probabilities
from .classification.classifiers import class_probabilities
from .task import asked_column

PAPERS = {"bmm-bootstrapping": ("suspects",)}

_FOLDS = 5


def suspects(model: Embedder, data: Data, rows: Rows, label: str) -> pl.DataFrame:
    """Return the rows whose class is probably wrong, the surest first.

    A model that judges the labels it learned from (``m-dyr``) says how likely each is wrong: suspects are those above
    one half. Of any other model a logistic regression reads its frozen embeddings, five-fold, so that no row is judged
    by a classifier that has seen its class, as one that was trained on wrong labels has learned them too: suspects are
    rows that it takes for another class, and the probability is that of all classes but the given one.

    Args:
        model: whose embeddings or judgement count.
        data: of which the labels are to be looked at, as training saw them.
        rows: to look at; those without a class are left out, and so are classes of one row, of which nothing is known.
        label: by name.

    Returns:
        ``row``, ``key``, ``given`` and ``proposed`` class, and ``probability`` that the given one is wrong.

    Raises:
        ValueError: for rows of fewer than two classes.
    """
    asked = data.classes[label]
    names, classes = asked.names, asked.values[rows]
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
    order = np.flatnonzero(wrong > 0.5)
    order = order[np.argsort(-wrong[order], kind="stable")]
    return pl.DataFrame(
        {
            "row": rows[order],
            "key": [data.key(int(row)) for row in rows[order]],
            "given": [names[k] for k in classes[order]],
            "proposed": [names[k] for k in others[order].argmax(1)],
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
        own = order[classes[order] == number]
        fold[own] = np.arange(len(own)) % _FOLDS
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


def _features(model: Embedder, data: Data, rows: Rows) -> Float[np.ndarray, "n d"]:
    features = EmbeddingCache.of(model, data)
    return features.column(asked_column("audit", features), rows).numpy()
