"""The harm of easy features to hard ones: class collapse and feature suppression, read from frozen embeddings."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ..data.views import key
from .classifiers import logistic

PAPERS = {"cl-simplicity-bias": ("collapse_index",)}

CLASSES, SUBCLASSES = "group", "concept"


def noise_of(ids: Int[np.ndarray, " n"], width: int) -> Float[np.ndarray, "n d"]:
    """Draw standard normal noise from each row's id: the same for all models, whichever rows are asked about."""
    hashes = key(0, 0, ids, "evaluation.simplicity.noise").tolist()
    return np.stack([np.random.default_rng(hashed).standard_normal(width) for hashed in hashes])


def probed(
    train: Float[np.ndarray, "n d"],
    classes: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    truth: Int[np.ndarray, " m"],
    count: int,
) -> Float[np.ndarray, " m"]:
    """Return 1 where a logistic probe finds a row's class, else 0; NaN without a class, or if training has only one."""
    kept, queries = classes >= 0, truth >= 0
    hits = np.full(len(test), np.nan)
    if len(np.unique(classes[kept])) > 1 and queries.any():
        hits[queries] = logistic(train[kept], classes[kept], test[queries], count) == truth[queries]
    return hits


def probed_within(
    train: tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]],
    test: tuple[Float[np.ndarray, "m d"], Int[np.ndarray, " m"]],
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Return the subclass that a probe within a row's class finds, and how often a guess there is right.

    NaN for rows of a class of which training has fewer than two subclasses. A subclass that training lacks is never
    found.

    Args:
        train: features, classes and subclasses.
        test: features and classes.
    """
    x, classes = test
    predicted, guess = np.full(len(x), np.nan), np.full(len(x), np.nan)
    for k in np.unique(classes):
        of_class, queries = train[1] == k, classes == k
        known = len(np.unique(train[2][of_class]))
        if known > 1:
            predicted[queries] = logistic(train[0][of_class], train[2][of_class], x[queries], known)
            guess[queries] = 1 / known
    return predicted, guess


def class_share(x: Float[np.ndarray, "n d"], classes: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Compute the part that each row adds to the share of the variance that lies between classes.

        ‖μ_class(i) − μ‖² / mean_j ‖x_j − μ‖²,    whose mean over rows is η², in [0, 1]

    NaN for rows without a class (below 0), which do not count, and where there is no variance.

    >>> x = np.array([[0.0, 1.0], [0.0, -1.0], [4.0, 1.0], [4.0, -1.0]])
    >>> float(class_share(x, np.array([0, 0, 1, 1])).mean()), float(class_share(x, np.array([0, 1, 0, 1])).mean())
    (0.8, 0.2)
    """
    kept = classes >= 0
    shares = np.full(len(x), np.nan)
    if not kept.any():
        return shares
    centred = x[kept] - x[kept].mean(0)
    numbers = np.unique(classes[kept], return_inverse=True)[1]
    means = np.stack([centred[numbers == k].mean(0) for k in range(numbers.max() + 1)])
    total = float(np.mean(np.sum(centred**2, axis=1)))
    if total > 0:
        shares[kept] = np.sum(means**2, axis=1)[numbers] / total
    return shares


def collapse_index(accuracy: float, reference: float, chance: float) -> float:
    """Compute how much of the subclasses is lost: ``1 − (accuracy − chance) / (reference − chance)``.

    0 where an encoder keeps as much as the reference, 1 where nothing is left; below 0 it keeps more.

    Args:
        accuracy: of a noisy probe of the subclass given the class.
        reference: the same of an encoder that need not collapse: trained without labels, or with the subclasses'.
        chance: 1 / subclasses of a class.

    Raises:
        ValueError: for a reference that is not above chance, with which nothing can be compared.

    >>> collapse_index(0.6, 0.9, 0.5)
    0.75

    Source: Xue et al. (2023), arXiv 2305.16536, its measure as an index.
    """
    if not reference > chance:
        raise ValueError(f"the reference must be above chance, got reference={reference} and chance={chance}")
    return 1 - (accuracy - chance) / (reference - chance)
