"""Statistics of the outcomes of examples, each computed anew on every resample of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Int, Real

from ..statistics import Statistic
from ..types import Constant
from ..types import mean as mean
from .auc import share_below
from .several import (
    average_precision,
    mean_average_precision,
    mean_iou,
    overall_f1,
    per_class_f1,
    weighted_average_precision,
    weighted_mean_average_precision,
    weighted_mean_iou,
    weighted_overall_f1,
    weighted_per_class_f1,
)

PAPERS = {"ebm-vs-cl-vqa": ("calibration_error",)}

Rows = Real[np.ndarray, "n 2"]
"""Outcomes of two columns."""


def median(values: Float[np.ndarray, " n"]) -> float:
    return float(np.median(values))


def magnitude(values: Float[np.ndarray, " n"]) -> float:
    """Compute how far the mean is from 0, above or below: for signed outcomes whose ideal is 0 on average."""
    return abs(float(np.mean(values)))


def mean_per_class(values: Rows) -> float:
    """Compute the mean over classes of the mean hit within the class; classes without an example do not count.

    >>> mean_per_class(np.array([[0, 1.0], [0, 1.0], [0, 1.0], [1, 0.0]]))
    0.5
    """
    classes = values[:, 0].astype(np.int64)
    counts = np.bincount(classes)
    sums = np.bincount(classes, weights=values[:, 1])
    return float(np.mean(sums[counts > 0] / counts[counts > 0]))


def _f1_per_class(values: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return F1 = 2 TP / (2 TP + FP + FN) and the number of examples of each class that is true of any."""
    true, predicted = values.T.astype(np.int64)
    classes = int(max(true.max(), predicted.max())) + 1
    of_class, taken = (np.bincount(column, minlength=classes) for column in (true, predicted))
    hits = np.bincount(true[true == predicted], minlength=classes)
    occurs = of_class > 0
    return 2 * hits[occurs] / (of_class + taken)[occurs], of_class[occurs]


def macro_f1(values: Rows) -> float:
    """Compute the mean F1 over the classes that occur.

    >>> round(macro_f1(np.array([[0, 0], [0, 1], [1, 1.0]])), 6)
    0.666667
    """
    return float(np.mean(_f1_per_class(values)[0]))


def weighted_f1(values: Rows) -> float:
    """Compute the mean F1 over classes, each as heavy as it has examples."""
    scores, counts = _f1_per_class(values)
    return float(np.average(scores, weights=counts))


def f1_of(cls: int) -> Callable[[Rows], float]:
    """Return a function that computes the F1 of one class, 0 where no example is of it or taken for it.

    >>> f1_of(0)(np.array([[0, 0], [0, 1], [1, 1.0]]))
    0.6666666666666666
    """

    def f1(values: Rows) -> float:
        return _f1(values, cls)

    return f1


def _f1(values: Rows, cls: int) -> float:
    true, taken, both = _counts(values, cls)
    return 2 * both / max(true + taken, 1)


def _counts(values: Rows, cls: int = 1) -> tuple[int, int, int]:
    """Count the examples that are of a class, those that were taken for it, and those that are both."""
    true, taken = (values == cls).T
    count = np.count_nonzero  # in half the time of a sum, and a bootstrap counts a hundred thousand times
    return int(count(true)), int(count(taken)), int(count(true & taken))


def precision(values: Rows) -> float:
    """Compute the share of the examples taken for class 1 that are of class 1; 0 where none was taken for class 1."""
    _, taken, both = _counts(values)
    return both / max(taken, 1)


def recall(values: Rows) -> float:
    """Compute the share of the examples of class 1 that were taken for class 1; 0 where none is of class 1."""
    true, _, both = _counts(values)
    return both / max(true, 1)


def f1(values: Rows) -> float:
    """Compute the harmonic mean of `precision` and `recall`, ``2 TP / (2 TP + FP + FN)`` of class 1.

    >>> f1(np.array([[1, 1], [1, 0], [0, 1], [0, 0.0]]))
    0.5
    """
    return _f1(values, 1)


def auroc(values: Rows) -> float:
    """Compute the area under the ROC curve of a score for class 1; 1/2 where only one class occurs.

    It is the share of pairs of an example of class 1 and one of class 0 in which the first scores higher, ties half.

    >>> auroc(np.array([[1, 0.9], [1, 0.4], [0, 0.5], [0, 0.1]]))
    0.75
    """
    of_class = values[:, 0] == 1
    if of_class.all() or not of_class.any():
        return 0.5
    return float(share_below(values[~of_class, 1], values[of_class, 1]).mean())


def share(values: Rows) -> float:
    """Compute all parts over all wholes, of examples with a number of things of which some are of a kind; 0 of nothing.

    >>> share(np.array([[4, 1], [2, 2.0]]))
    0.5
    """
    return float(values[:, 1].sum() / max(values[:, 0].sum(), 1))


def error_rate(values: Rows) -> float:
    """Compute all errors over all that was said, of examples with so many errors and so much said; it may exceed 1.

    >>> error_rate(np.array([[1.0, 4.0], [1.0, 6.0]]))
    0.2
    """
    errors, total = values.sum(0)
    return float(errors / max(total, 1))


def spearman(values: Rows) -> float:
    """Compute the rank correlation of a level and the score that it is given; 0 where either is constant.

    >>> round(spearman(np.array([[0, 0.1], [1, 0.2], [2, 0.9]])), 6)
    1.0
    """
    from scipy.stats import rankdata

    level, score = values.T
    return _correlation(rankdata(level), rankdata(score))


def mean_absolute_error(values: Rows) -> float:
    """Compute how far predicted numbers are from the true ones on average.

    >>> mean_absolute_error(np.array([[1, 3], [2, 1.0]]))
    1.5
    """
    return float(np.abs(values[:, 0] - values[:, 1]).mean())


def weighted_mean_absolute_error(
    values: Rows, weights: Float[np.ndarray, "replicates n"]
) -> Float[np.ndarray, " replicates"]:
    """Compute `mean_absolute_error` of examples that count so many times in each replicate."""
    return weights @ np.abs(values[:, 0] - values[:, 1]) / weights.sum(1)


def pearson(values: Rows) -> float:
    """Compute the correlation of a level and the score that it is given; 0 where either is constant."""
    return _correlation(values[:, 0], values[:, 1])


def _correlation(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    if not (np.ptp(a) and np.ptp(b)):
        return 0.0  # by rounding a constant can differ from its mean, and two of them would correlate to ±1
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else 0.0


BINS = 15
"""Bins of confidence in `calibration_error`."""


def calibration_error(values: Rows) -> float:
    """Compute the expected calibration error, ``Σ_b |B_b|/N · |accuracy_b − confidence_b|`` over 15 equal bins.

    It is above 0 for finitely many examples even where confidence is right: compare it at equal N.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (2017), arXiv 1706.04599.

    Raises:
        ValueError: for a confidence outside [0, 1].

    >>> round(calibration_error(np.array([[0.9, 1.0], [0.9, 0.0]])), 6)
    0.4
    """
    confidence, hits = values.T
    if not 0 <= confidence.min() <= confidence.max() <= 1:
        raise ValueError(f"confidences must lie in [0, 1], got {confidence.min():g} to {confidence.max():g}")
    # (b/15, (b + 1)/15]; rounded, so that a confidence of 3/5 is in the bin that ends there whatever computed it.
    bins = np.clip(np.ceil(np.round(confidence * BINS, 9)).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=hits - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(values))


def harmonic_mean(values: Rows) -> float:
    """Compute the harmonic mean of the mean outcomes of two groups of examples, which the first column numbers.

    It is 0 where a group has no example.

    >>> round(harmonic_mean(np.array([[0, 1.0], [0, 0.0], [1, 1.0]])), 6)
    0.666667
    """
    groups = values[:, 0] == 1
    if groups.all() or not groups.any():
        return 0.0
    one, other = float(values[~groups, 1].mean()), float(values[groups, 1].mean())
    return 2 * one * other / (one + other) if one + other else 0.0


_TYPES = ("true", "predicted")
STATISTICS: Mapping[str, Statistic] = {
    each.name: each
    for each in (
        Statistic(np.mean),
        Statistic(median),
        Statistic(magnitude, (), 0.0),
        Statistic(mean_per_class, ("class", "hit"), 0.0, 1.0),
        *(
            Statistic(function, _TYPES, 0.0, 1.0)
            for function in (macro_f1, weighted_f1, precision, recall, f1)
        ),
        Statistic(share, ("whole", "part"), 0.0, 1.0),
        Statistic(harmonic_mean, ("group", "hit"), 0.0, 1.0),
        Statistic(error_rate, ("errors", "said"), 0.0),
        Statistic(auroc, ("true", "score"), 0.0, 1.0),
        Statistic(calibration_error, ("confidence", "hit"), 0.0, 1.0),
        *(Statistic(function, ("level", "score"), -1.0, 1.0) for function in (spearman, pearson)),
        Statistic(mean_absolute_error, _TYPES, 0.0, weighted=weighted_mean_absolute_error),
        *(
            Statistic(function, columns, 0.0, 1.0, several=True, weighted=weighted)
            for function, columns, weighted in (
                (average_precision, ("true", "score"), weighted_average_precision),
                (mean_average_precision, ("true", "score"), weighted_mean_average_precision),
                (per_class_f1, ("true", "score"), weighted_per_class_f1),
                (overall_f1, ("true", "score"), weighted_overall_f1),
                (mean_iou, ("union", "intersection"), weighted_mean_iou),
            )
        ),
    )
}
"""Every statistic that a metric here uses, by the name that results and run folders carry."""


def name_of(statistic: Callable[[np.ndarray], float]) -> str:
    """Return the name of a statistic; a callable object goes by its class."""
    return str(getattr(statistic, "__name__", type(statistic).__name__))


def always_commonest(classes: Int[np.ndarray, " n"]) -> Constant:
    """Return what always naming the commonest class scores: its share.

    >>> always_commonest(np.array([2, 0, 2, 2]))(np.array([0, 1]))
    0.5
    """
    return lambda rows: float(np.bincount(classes[rows]).max() / len(rows))


def always_one_class(classes: Int[np.ndarray, " n"]) -> Constant:
    """Return what always naming one class scores where every class counts alike: 1 / classes, whichever it names.

    >>> always_one_class(np.array([2, 0, 2, 2]))(np.arange(4))
    0.5
    """
    return lambda rows: 1 / len(np.unique(classes[rows]))
