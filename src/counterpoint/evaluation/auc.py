"""The area under the ROC curve as a mean over examples, so that it can be resampled like any other mean."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ..reasons import counted


def auc_components(
    positives: Float[np.ndarray, " n"], negatives: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Compute the part of the AUC that each example adds with its two scores; the mean of these parts is the AUC.

        AUC = mean_{i,j} ([p_i > n_j] + [p_i = n_j] / 2)
        component_i = mean_j ([p_i > n_j] + [p_i = n_j] / 2) + mean_j ([p_j > n_i] + [p_j = n_i] / 2) − AUC

    The variance of the components over n is DeLong's variance of the AUC: an example's two scores are resampled
    together. Memory is O(n).

    Args:
        positives: the score of each example that should be high.
        negatives: the score of the same example that should be low.

    Raises:
        ValueError: if there are none, or one is not finite.

    Source: DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver Operating
    Characteristic Curves" (1988).

    >>> auc_components(np.array([0.9, 0.4]), np.array([0.5, 0.1])).tolist()
    [0.75, 0.75]
    """
    for name, scores in (("positives", positives), ("negatives", negatives)):
        if not len(scores) or not np.isfinite(scores).all():
            raise ValueError(
                f"{name} must be at least one score, all finite; got {counted(len(scores), 'score')}"
            )
    below = share_below(negatives, positives)
    above = 1 - share_below(positives, negatives)
    return below + above - below.mean()


def share_below(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the share of values below each point, equal ones counted half."""
    ordered = np.sort(values)
    both = np.searchsorted(ordered, points, "left") + np.searchsorted(ordered, points, "right")
    return both / (2 * len(values))
