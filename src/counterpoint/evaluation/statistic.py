"""From the outcomes of examples to one number: array functions that a bootstrap calls on every resample."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Int

Statistic = Callable[[np.ndarray], float]


def mean(values: Float[np.ndarray, " n"]) -> float:
    return float(np.mean(values))


def median(values: Float[np.ndarray, " n"]) -> float:
    return float(np.median(values))


def magnitude(values: Float[np.ndarray, " n"]) -> float:
    """How far the mean is from 0, whichever way: for signed outcomes whose ideal is 0 on average."""
    return abs(float(np.mean(values)))


def class_and_hit(classes: Int[np.ndarray, " n"], hits: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """An example's class and its hit in [0, 1] as one outcome, ``class + hit / 2``, for `mean_per_class`.

    >>> class_and_hit(np.array([0, 3]), np.array([1.0, 0.0])).tolist()
    [0.5, 3.0]
    """
    return classes + hits / 2


def mean_per_class(values: Float[np.ndarray, " n"]) -> float:
    """The mean over classes of the mean hit within the class; classes without an example do not count.

    Args:
        values: outcomes made by `class_and_hit`.

    >>> mean_per_class(class_and_hit(np.array([0, 0, 0, 1]), np.array([1.0, 1.0, 1.0, 0.0])))
    0.5
    """
    classes = np.floor(values).astype(np.int64)
    counts = np.bincount(classes)
    sums = np.bincount(classes, weights=2 * (values - classes))
    return float(np.mean(sums[counts > 0] / counts[counts > 0]))


CLASSES = 64
"""As many as `true_and_predicted` can tell apart."""


def true_and_predicted(
    true: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """An example's class and what it was taken for as one outcome, for `macro_f1` and `weighted_f1`.

    >>> true_and_predicted(np.array([0, 3]), np.array([32, 0])).tolist()
    [0.5, 3.0]

    Raises:
        ValueError: for a class below 0 or from 64 on.
    """
    for classes in (true, predicted):
        if len(classes) and not 0 <= classes.min() <= classes.max() < CLASSES:
            raise ValueError(f"classes must be 0 to {CLASSES - 1}, got {classes.min()} to {classes.max()}")
    return true + predicted / CLASSES


def _f1_per_class(values: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """F1 = 2 TP / (2 TP + FP + FN) and the number of examples of each class that is true of any."""
    true = np.floor(values).astype(np.int64)
    predicted = np.rint((values - true) * CLASSES).astype(np.int64)
    of_class, said = (np.bincount(classes, minlength=CLASSES) for classes in (true, predicted))
    hits = np.bincount(true[true == predicted], minlength=CLASSES)
    occurs = of_class > 0
    return 2 * hits[occurs] / (of_class + said)[occurs], of_class[occurs]


def macro_f1(values: Float[np.ndarray, " n"]) -> float:
    """The mean F1 over the classes that occur.

    Args:
        values: outcomes made by `true_and_predicted`.
    """
    return float(np.mean(_f1_per_class(values)[0]))


def weighted_f1(values: Float[np.ndarray, " n"]) -> float:
    """The mean F1 over classes, each as heavy as it has examples.

    Args:
        values: outcomes made by `true_and_predicted`.
    """
    scores, counts = _f1_per_class(values)
    return float(np.average(scores, weights=counts))


STATISTICS: Mapping[str, Statistic] = {
    "mean": mean,
    "median": median,
    "magnitude": magnitude,
    "mean_per_class": mean_per_class,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
}
"""Every statistic that a metric here uses, by the name that results and run folders carry."""


def name_of(statistic: Statistic) -> str:
    """The name of a statistic; a user's own goes by the function's name."""
    known = {function: name for name, function in STATISTICS.items()}
    return known.get(statistic, getattr(statistic, "__name__", "mean").replace("<lambda>", "mean"))
