"""Array functions from the outcomes of examples to one number, which a bootstrap calls on every resample."""

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
    """Compute how far the mean is from 0, above or below: for signed outcomes whose ideal is 0 on average."""
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
"""The number of classes that `true_and_predicted` can tell apart."""


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


def f1_of(values: Float[np.ndarray, " n"], place: int) -> float:
    """The F1 of one class, 0 where no example is of it or taken for it.

    >>> f1_of(true_and_predicted(np.array([0, 0, 1]), np.array([0, 1, 1])), 0)
    0.6666666666666666

    Args:
        values: outcomes made by `true_and_predicted`.
        place: the class.
    """
    true = np.floor(values).astype(np.int64)
    said = np.rint((values - true) * CLASSES).astype(np.int64)
    both, either = np.sum((true == place) & (said == place)), np.sum(true == place) + np.sum(said == place)
    return float(2 * both / max(int(either), 1))


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


def _yes(values: Float[np.ndarray, " n"]) -> tuple[int, int, int]:
    """Count the examples that are of class 1, those that were taken for class 1, and those that are both."""
    true = np.floor(values).astype(np.int64) == 1
    said = np.rint((values % 1) * CLASSES).astype(np.int64) == 1
    return int(true.sum()), int(said.sum()), int((true & said).sum())


def precision(values: Float[np.ndarray, " n"]) -> float:
    """Compute the share of the examples taken for class 1 that are of class 1; 0 where none was taken for class 1.

    Args:
        values: outcomes made by `true_and_predicted`.
    """
    _, said, both = _yes(values)
    return both / max(said, 1)


def recall(values: Float[np.ndarray, " n"]) -> float:
    """Compute the share of the examples of class 1 that were taken for class 1; 0 where none is of class 1.

    Args:
        values: outcomes made by `true_and_predicted`.
    """
    true, _, both = _yes(values)
    return both / max(true, 1)


def f1(values: Float[np.ndarray, " n"]) -> float:
    """The harmonic mean of `precision` and `recall`, ``2 TP / (2 TP + FP + FN)`` of class 1.

    Args:
        values: outcomes made by `true_and_predicted`.

    >>> f1(true_and_predicted(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])))
    0.5
    """
    true, said, both = _yes(values)
    return 2 * both / max(true + said, 1)


_PARTS = 1024


def whole_and_part(whole: Int[np.ndarray, " n"], part: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A number of things and how many of them are of some kind as one outcome, ``whole + part / 1024``, for `share`.

    >>> whole_and_part(np.array([4, 2]), np.array([1, 0])).tolist()
    [4.0009765625, 2.0]

    Raises:
        ValueError: for a part below 0, above its whole or from 1024 on.
    """
    if len(part) and not (part.min() >= 0 and (part <= whole).all() and part.max() < _PARTS):
        raise ValueError(f"parts must be 0 to {_PARTS - 1} and none above its whole, got up to {part.max()}")
    return whole + part / _PARTS


def share(values: Float[np.ndarray, " n"]) -> float:
    """All parts over all wholes; 0 where there is nothing.

    Args:
        values: outcomes made by `whole_and_part`.

    >>> share(whole_and_part(np.array([4, 2]), np.array([1, 2])))
    0.5
    """
    whole = np.floor(values)
    return float((values - whole).sum() * _PARTS / max(whole.sum(), 1))


def spearman(values: Float[np.ndarray, " n"]) -> float:
    """The rank correlation of class and hit, as of a level and the score that it is given; 0 where either is constant.

    Args:
        values: outcomes made by `class_and_hit`.

    >>> round(spearman(class_and_hit(np.array([0, 1, 2]), np.array([0.1, 0.2, 0.9]))), 6)
    1.0
    """
    from scipy.stats import rankdata

    classes = np.floor(values)
    return _correlation(rankdata(classes), rankdata(np.round(values - classes, 12)))


def pearson(values: Float[np.ndarray, " n"]) -> float:
    """The correlation of class and hit, as of a level and the score that it is given; 0 where either is constant.

    Args:
        values: outcomes made by `class_and_hit`.
    """
    classes = np.floor(values)
    return _correlation(classes, values - classes)


def _correlation(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else 0.0


BINS = 15
"""Bins of confidence in `calibration_error`."""


def confidence_and_hit(
    confidence: Float[np.ndarray, " n"], hits: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Join an answer's confidence, in [0, 1], and its hit, 0 or 1 for right, to one outcome, for `calibration_error`.

    >>> confidence_and_hit(np.array([0.5, 1.0]), np.array([1.0, 0.0])).tolist()
    [2.5, 1.0]

    Raises:
        ValueError: for a confidence outside [0, 1].
    """
    if len(confidence) and not 0 <= confidence.min() <= confidence.max() <= 1:
        raise ValueError(f"confidences must lie in [0, 1], got {confidence.min():g} to {confidence.max():g}")
    return confidence + 2 * hits


def calibration_error(values: Float[np.ndarray, " n"]) -> float:
    """The expected calibration error, ``Σ_b |B_b|/N · |accuracy_b − confidence_b|`` over 15 bins of equal width.

    It is above 0 for finitely many examples even where confidence is right: compare it at equal N.

    Args:
        values: outcomes made by `confidence_and_hit`.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (2017), arXiv 1706.04599.

    >>> round(calibration_error(confidence_and_hit(np.array([0.9, 0.9]), np.array([1.0, 0.0]))), 6)
    0.4
    """
    hits = values >= 2
    confidence = values - 2 * hits
    # (b/15, (b + 1)/15]; rounded, as the sum with 2 costs a confidence its last digits.
    bins = np.clip(np.ceil(np.round(confidence * BINS, 9)).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=hits - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(values))


STATISTICS: Mapping[str, Statistic] = {
    "mean": mean,
    "median": median,
    "magnitude": magnitude,
    "mean_per_class": mean_per_class,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
    "calibration_error": calibration_error,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "share": share,
    "spearman": spearman,
    "pearson": pearson,
}
"""Every statistic that a metric here uses, by the name that results and run folders carry."""

_UNIT = "mean_per_class", "macro_f1", "weighted_f1", "calibration_error", "precision", "recall", "f1", "share"
RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(_UNIT, (0.0, 1.0)),
    **dict.fromkeys(("spearman", "pearson"), (-1.0, 1.0)),
}
"""The bounds of the statistics whose range the outcomes do not decide."""


def name_of(statistic: Statistic) -> str:
    """The name of a statistic; a user's own goes by the function's name."""
    known = {function: name for name, function in STATISTICS.items()}
    return known.get(statistic, getattr(statistic, "__name__", "mean").replace("<lambda>", "mean"))
