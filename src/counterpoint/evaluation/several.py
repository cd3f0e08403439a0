"""Statistics of examples with outcomes for each of several things: tags, or classes of pixels.

Outcomes are ``(n, 2 m)``, the truth of all m tags and then their scores (unions and then intersections). A truth below
0 is not known, and counts for nothing. Each statistic is stated under weights ``(replicates, n)`` of the examples, so
that a bootstrap sorts once for all replicates; without weights every example counts once.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor

from ..statistics.outcomes import Weighted

Rows = Real[np.ndarray, "n columns"]
Weights = Float[np.ndarray, "replicates n"]
Numbers = Float[np.ndarray, " replicates"]

_REPLICATES = 100
THRESHOLD = 0.5
"""The score from which on a tag is taken to be there."""


def mean_average_precision(values: Rows) -> float:
    """Compute the mean over tags of ``AP = Σ_k (R_k − R_{k−1}) P_k``, k the distinct scores from the highest down.

    P_k is the precision and R_k the recall of the examples that score k or more. Tags that no example has do not
    count; 0 where none has any.

    >>> round(mean_average_precision(np.array([[1, 0.9], [0, 0.8], [1, 0.3]])), 4)
    0.8333
    """
    return _alone(weighted_mean_average_precision, values)


def weighted_mean_average_precision(values: Rows, weights: Weights) -> Numbers:
    """Compute `mean_average_precision` of examples that count so many times in each replicate."""
    true, scores = _halves(values)
    counts = torch.from_numpy(np.ascontiguousarray(weights.T))  # so that an example is a row
    total, tags = np.zeros(len(weights)), np.zeros(len(weights))
    for of_tag, score in zip(true.T, scores.T, strict=True):
        precision, occurs = _average_precision(of_tag, score, counts)
        total += precision
        tags += occurs
    return total / np.maximum(tags, 1)


def _average_precision(
    true: Float[np.ndarray, " n"], score: Float[np.ndarray, " n"], counts: Float[Tensor, "n replicates"]
) -> tuple[Numbers, Numbers]:
    """Return the average precision of a tag in every replicate, and whether some example has the tag there."""
    positive, known = true > 0, true >= 0
    # Precision matters at the scores that some positive has, from the highest: count between these alone.
    steps = np.unique(-score[positive])

    def counted(rows: Bool[np.ndarray, " n"]) -> Tensor:
        """Count those of some examples whose scores reach each step and none before."""
        step = torch.from_numpy(np.searchsorted(steps, -score[rows]))
        return counts.new_zeros(len(steps) + 1, counts.shape[1]).index_add_(0, step, counts[rows])[:-1]

    hits = counted(positive)
    true_positives, seen = hits.cumsum(0), counted(known).cumsum(0)
    total = hits.sum(0)
    precision = (hits * true_positives / seen.clamp(min=1)).sum(0) / total.clamp(min=1)
    return precision.numpy(), (total > 0).double().numpy()


def average_precision(values: Rows) -> float:
    """Compute the average precision over all things of all examples together; see `mean_average_precision`.

    >>> average_precision(np.array([[1, 0, 0.9, 0.8], [1, -1, 0.3, 0.0]]))
    0.8333333333333333
    """
    return _alone(weighted_average_precision, values)


def weighted_average_precision(values: Rows, weights: Weights) -> Numbers:
    """Compute `average_precision` of examples that count so many times in each replicate."""
    true, scores = _halves(values)
    known = true >= 0
    examples = known.nonzero()[0]
    # A few replicates at a time, as every thing takes the weight of its example.
    parts = [
        _average_precision(
            true[known],
            scores[known],
            torch.from_numpy(np.ascontiguousarray(weights[start : start + _REPLICATES].T[examples])),
        )[0]
        for start in range(0, len(weights), _REPLICATES)
    ]
    return np.concatenate(parts)


def per_class_f1(values: Rows) -> float:
    """Compute CF1, the harmonic mean of precision and recall that are averaged over tags, each at a score of 0.5.

        CP = mean_c TP_c / (TP_c + FP_c),  CR = mean_c TP_c / (TP_c + FN_c),  CF1 = 2 CP · CR / (CP + CR)

    over the tags that some example has. The precision of a tag that is never given is 0.

    >>> round(per_class_f1(np.array([[1, 0, 0.9, 0.6], [1, 1, 0.2, 0.7]])), 4)
    0.75
    """
    return _alone(weighted_per_class_f1, values)


def weighted_per_class_f1(values: Rows, weights: Weights) -> Numbers:
    """Compute `per_class_f1` of examples that count so many times in each replicate."""
    there, predicted, both = _counts(values, weights)
    tags = np.maximum((there > 0).sum(1), 1)
    precision = np.where(there > 0, both / np.maximum(predicted, 1), 0).sum(1) / tags
    recall = (both / np.maximum(there, 1)).sum(1) / tags
    scale = precision + recall
    return 2 * np.divide(precision * recall, scale, out=np.zeros_like(scale), where=scale > 0)


def overall_f1(values: Rows) -> float:
    """Compute OF1, the F1 of all decisions about all tags, each at a score of 0.5: ``2 TP / (2 TP + FP + FN)``.

    >>> overall_f1(np.array([[1, 0, 0.9, 0.6], [1, 1, 0.2, 0.7]]))
    0.6666666666666666
    """
    return _alone(weighted_overall_f1, values)


def weighted_overall_f1(values: Rows, weights: Weights) -> Numbers:
    """Compute `overall_f1` of examples that count so many times in each replicate."""
    there, predicted, both = (counts.sum(1) for counts in _counts(values, weights))
    return 2 * both / np.maximum(there + predicted, 1)


def mean_iou(values: Rows) -> float:
    """Compute the mean over classes of all intersections over all unions; classes without a pixel do not count.

    >>> mean_iou(np.array([[4, 1, 2, 0.0], [2, 0, 1, 0.0]]))
    0.25
    """
    return _alone(weighted_mean_iou, values)


def weighted_mean_iou(values: Rows, weights: Weights) -> Numbers:
    """Compute `mean_iou` of examples that count so many times in each replicate."""
    either, both = (weights @ part for part in _halves(values))
    iou = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    return iou.sum(1) / np.maximum((either > 0).sum(1), 1)


def _alone(weighted: Weighted, values: Rows) -> float:
    return float(weighted(values, np.ones((1, len(values))))[0])


def _halves(values: Rows) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
    first, second = np.split(values.astype(np.float64, copy=False), 2, axis=1)
    return first, second


def _counts(values: Rows, weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the examples that have each tag, those that were given it, and those that are both ``(replicates, m)``."""
    true, scores = _halves(values)
    there, predicted = true > 0, (scores >= THRESHOLD) & (true >= 0)
    there, predicted, both = (
        weights @ part.astype(np.float64) for part in (there, predicted, there & predicted)
    )
    return there, predicted, both
