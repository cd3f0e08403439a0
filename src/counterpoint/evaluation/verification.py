"""Same or not? Error rates of a score that accepts pairs above a threshold."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

PAPERS = {"contrastive-margins-sv": ("equal_error_rate", "equal_error_components", "min_dcf")}


def equal_error_rate(positives: Float[np.ndarray, " p"], negatives: Float[np.ndarray, " n"]) -> float:
    """Return the error rate at the threshold where as many positives are missed as negatives are accepted.

    Between two thresholds both rates are interpolated linearly, which is where the ROC curve meets the line
    of equal errors. 0 is perfect, 0.5 what chance gives, 1 always wrong. Tied scores are accepted together.

    Args:
        positives: scores of pairs that belong together; higher is closer.
        negatives: scores of pairs that do not.

    Raises:
        ValueError: if there are no scores of one kind, or one is not finite.

    Source: as in Lepage and Dehak, "Experimenting with Additive Margins for Contrastive Self-Supervised Speaker
    Verification" (2023), arXiv 2306.03664.

    >>> equal_error_rate(np.array([0.9, 0.8, 0.3]), np.array([0.7, 0.2, 0.1]))
    0.3333333333333333
    """
    _, missed, accepted = _error_rates(positives, negatives)
    k, share = _crossing(missed, accepted)
    return float(missed[k - 1] + share * (missed[k] - missed[k - 1]))


def equal_error_components(
    scores: Float[np.ndarray, "n n"], same: Bool[np.ndarray, "n n"]
) -> Float[np.ndarray, " n"]:
    """Compute the part of the equal error rate of all pairs that each example adds; the mean of these is the rate.

        e_ij = [i, j belong together] [s_ij < t] n(n−1)/2P + [they do not] [s_ij ≥ t] n(n−1)/2N
        component_i = mean_j e_ij + mean_j e_ji − EER

    P and N are the numbers of pairs i ≠ j that belong together and that do not, t is the threshold of
    `equal_error_rate`; between two thresholds errors are interpolated as rates are. An example is a side of many pairs,
    so it is examples that are resampled; the threshold stays.

    Args:
        scores: of each example with each, higher is closer; the diagonal is left out.
        same: which examples belong together.

    Raises:
        ValueError: if no two belong together or none do not, or a score is not finite.

    >>> s = np.array([[0, 0.9, 0.1], [0.9, 0, 0.2], [0.1, 0.2, 0]])
    >>> equal_error_components(s, np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)).tolist()
    [0.0, 0.0, 0.0]
    """
    n = len(scores)
    apart = ~np.eye(n, dtype=bool)
    positive, negative = same & apart, ~same & apart
    thresholds, missed, accepted = _error_rates(scores[positive], scores[negative])
    k, share = _crossing(missed, accepted)

    def of_sides(threshold: float) -> Float[np.ndarray, " n"]:
        wrong = (positive & (scores < threshold)) / positive.sum()
        wrong += (negative & (scores >= threshold)) / negative.sum()
        return n * (wrong.sum(0) + wrong.sum(1)) / 2

    sides = (1 - share) * of_sides(thresholds[k - 1]) + share * of_sides(thresholds[k])
    return np.asarray(sides - sides.mean() / 2)


def min_dcf(
    positives: Float[np.ndarray, " p"],
    negatives: Float[np.ndarray, " n"],
    *,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Return the detection cost at the best threshold, relative to deciding without a score.

        minDCF = min_t [C_miss p P_miss(t) + C_fa (1 − p) P_fa(t)] / min(C_miss p, C_fa (1 − p))

    0 is perfect; 1 means that the score is of no use at this prior.

    Args:
        positives: scores of pairs that belong together; higher is closer.
        negatives: scores of pairs that do not.
        p_target: p, how often a pair belongs together where the score is used.
        c_miss: C_miss, the cost of a missed positive.
        c_fa: C_fa, the cost of an accepted negative.

    Raises:
        ValueError: if there are no scores of one kind, or one is not finite; for p outside (0, 1) or a cost
            that is not positive.

    Source: the NIST 2016 Speaker Recognition Evaluation Plan, with the defaults of Lepage and Dehak (2023), arXiv
    2306.03664.

    >>> min_dcf(np.array([0.9, 0.8, 0.3, 0.2]), np.array([0.7, 0.1]))
    0.5
    """
    if not 0 < p_target < 1:
        raise ValueError(f"p_target must lie between 0 and 1, got {p_target}")
    if not (c_miss > 0 and c_fa > 0):
        raise ValueError(f"costs must be positive, got c_miss={c_miss} and c_fa={c_fa}")
    _, missed, accepted = _error_rates(positives, negatives)
    of_miss, of_accept = c_miss * p_target, c_fa * (1 - p_target)
    return float((of_miss * missed + of_accept * accepted).min() / min(of_miss, of_accept))


def _crossing(missed: np.ndarray, accepted: np.ndarray) -> tuple[int, float]:
    """Return the first threshold that misses as many as it accepts, and how far behind the last both are equal."""
    gap = missed - accepted  # from −1 at the lowest threshold to 1 above the highest
    k = int((gap >= 0).argmax())
    return k, float(gap[k - 1] / (gap[k - 1] - gap[k]))


def _error_rates(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return thresholds from the lowest score up, and the shares of positives missed and negatives accepted at each."""
    for name, scores in (("positives", positives), ("negatives", negatives)):
        if not len(scores) or not np.isfinite(scores).all():
            raise ValueError(f"{name} must be at least one score, all finite; got {len(scores)} scores")
    thresholds = np.append(np.unique(np.concatenate([positives, negatives])), np.inf)
    missed = np.searchsorted(np.sort(positives), thresholds) / len(positives)
    accepted = 1 - np.searchsorted(np.sort(negatives), thresholds) / len(negatives)
    return thresholds, missed, accepted
