"""Classifiers on frozen features: from training features and classes to predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .naive_bayes import PooledNaiveBayes

Classifier = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]
"""``(train features, train classes, test features, number of classes) -> predicted classes``."""

NEIGHBOURS = 20
TEMPERATURE = 0.07
ITERATIONS = 1000
"""Most iterations of L-BFGS."""


def logistic(
    train: Float[np.ndarray, "n d"], classes: Int[np.ndarray, " n"], test: Float[np.ndarray, "m d"], k: int
) -> Int[np.ndarray, " m"]:
    """Classify by softmax regression, L2 with C = 1, L-BFGS, at most `ITERATIONS` iterations.

    Features are scaled to [0, 1] by the training rows; test features may leave that range.
    """
    scaler, classifier = _softmax_regression(train, classes)
    return classifier.predict(scaler.transform(test))


def class_probabilities(
    train: Float[np.ndarray, "n d"], classes: Int[np.ndarray, " n"], k: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from features to `logistic`'s probability of each class, 0 for those without training rows."""
    scaler, classifier = _softmax_regression(train, classes)

    def read(features: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m k"]:
        probabilities = np.zeros((len(features), k))
        probabilities[:, classifier.classes_] = classifier.predict_proba(scaler.transform(features))
        return probabilities

    return read


def tag_probabilities(
    train: Float[np.ndarray, "n d"], tags: Int[np.ndarray, "n C"]
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from features to the probability of each tag, by a logistic regression each, as `logistic`.

    A tag that all rows of which it is known have, or none, has that share whatever the features; one of which nothing
    is known has ½.

    Args:
        train: features.
        tags: 1 where a row has a tag, 0 where it has not, −1 where that is not known.
    """
    from sklearn.linear_model import LogisticRegression

    scaler = _scaler(train)
    scaled = scaler.transform(train)
    known = [tag >= 0 for tag in tags.T]
    fits = [
        LogisticRegression(max_iter=ITERATIONS).fit(scaled[rows], tag[rows])
        if len(np.unique(tag[rows])) > 1
        else float(tag[rows].mean())
        if rows.any()
        else 0.5
        for tag, rows in zip(tags.T, known, strict=True)
    ]

    def read(features: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m C"]:
        x = scaler.transform(features)
        columns = [
            np.full(len(x), fit) if isinstance(fit, float) else fit.predict_proba(x)[:, 1] for fit in fits
        ]
        return np.stack(columns, 1)

    return read


def naive_bayes(
    train: Float[np.ndarray, "n d"], classes: Int[np.ndarray, " n"], test: Float[np.ndarray, "m d"], k: int
) -> Int[np.ndarray, " m"]:
    """Classify by `PooledNaiveBayes` on the features that `logistic` sees, scaled alike."""
    scaler = _scaler(train)
    return PooledNaiveBayes(k).update(scaler.transform(train), classes).predict(scaler.transform(test))


def knn(
    train: Float[np.ndarray, "n d"], classes: Int[np.ndarray, " n"], test: Float[np.ndarray, "m d"], k: int
) -> Int[np.ndarray, " m"]:
    """Classify by the 20 training rows of highest cosine, which vote with weight ``exp(cosine / 0.07)``.

    The weight is positive for negative cosines too. With fewer than 20 training rows all of them vote.

    Source: weighted k-NN of Wu et al. 2018 (instance discrimination), its temperature.
    """
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(
        n_neighbors=min(NEIGHBOURS, len(train)),
        weights=lambda distances: np.exp((1 - distances) / TEMPERATURE),
        metric="cosine",
        algorithm="brute",
    )
    with _many_classes():
        return classifier.fit(train, classes).predict(test)


@contextmanager
def _many_classes() -> Iterator[None]:
    """Keep scikit-learn from asking whether many classes are numbers: a small split may hold few rows of each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes is greater than", UserWarning)
        yield


def _softmax_regression(train: Float[np.ndarray, "n d"], classes: Int[np.ndarray, " n"]) -> tuple[Any, Any]:
    """Return the scaler of the features, and the regression on what it scaled."""
    from sklearn.linear_model import LogisticRegression

    scaler = _scaler(train)
    with _many_classes():
        return scaler, LogisticRegression(max_iter=ITERATIONS).fit(scaler.transform(train), classes)


def _scaler(train: np.ndarray) -> Any:
    from sklearn.preprocessing import MinMaxScaler

    return MinMaxScaler().fit(train)


CLASSIFIERS: Mapping[str, Classifier] = {"logistic": logistic, "naive_bayes": naive_bayes, "knn": knn}
