"""Compare2Score: one score for each picture from soft comparisons with a few anchors.

Source: Zhu et al., "Adaptive Image Quality Assessment via Teaching Large Multimodal Model to Compare" (NeurIPS 2024),
arXiv 2405.19298.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit, log_ndtr

PAPERS = {"compare2score": ("anchored_scores", "comparisons", "map_scores", "preferences", "select_anchors")}

LEVELS = ("inferior", "worse", "similar", "better", "superior")
"""What the second picture is, compared with the first."""
_STEPS, _PRECISION = 200, 1e-10


class ComparedPair(NamedTuple):
    """Two examples of one set, and the level of the second one: an index into `LEVELS`."""

    first: int
    second: int
    level: int


def comparison_levels(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], deviation: Float[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Return the level of each second example by the difference of mean opinions, in units of its deviation s.

    ``q = μ_first − μ_second``: inferior above 2s, worse above s, similar above −s, better above −2s, else superior.

    >>> comparison_levels(np.array([2.5, 1.5, 0.0, -1.0, -2.0]), np.zeros(5), np.ones(5)).tolist()
    [0, 1, 2, 3, 4]
    """
    q = first - second
    return np.sum([q <= k * deviation for k in (2, 1, -1, -2)], axis=0)


def comparisons(
    sets: Sequence[str],
    means: Float[np.ndarray, " n"],
    deviations: Float[np.ndarray, " n"] | float,
    count: int,
    seed: int = 0,
) -> list[ComparedPair]:
    """Draw pairs of examples of one set, with the level of the second one.

    Ratings of two sets are on different scales, so that no pair mixes sets. Both orders of a pair are as likely.

    Args:
        sets: the set of each example.
        means: mean opinion of each.
        deviations: standard deviation of the opinions of each, or one for all where it is unknown.
        count: of pairs. Each set has pairs in proportion to its examples.
        seed: of the draw.

    Raises:
        ValueError: if no set has two examples.
    """
    rng, names = np.random.default_rng(seed), np.asarray(sets)
    members = {name: np.flatnonzero(names == name) for name in np.unique(names)}
    eligible = np.flatnonzero([len(members[name]) > 1 for name in names])
    if not len(eligible):
        raise ValueError("no set has two examples to compare")
    first = rng.choice(eligible, count)
    second = np.array(
        [rng.choice(others[others != one]) for one in first for others in [members[names[one]]]], dtype=int
    )
    sd = np.broadcast_to(np.asarray(deviations, dtype=float), names.shape)
    levels = comparison_levels(means[first], means[second], np.hypot(sd[first], sd[second]))
    return [ComparedPair(*map(int, pair)) for pair in zip(first, second, levels, strict=True)]


def select_anchors(
    means: Float[np.ndarray, " n"], deviations: Float[np.ndarray, " n"], intervals: int = 5
) -> Int[np.ndarray, " anchors"]:
    """Return one anchor for each interval of the range of mean opinions: the example of least deviation.

    Args:
        means, deviations: of the opinions about examples of one set.
        intervals: of equal width; those without an example have no anchor.

    Returns:
        Indices, from the lowest mean to the highest.

    >>> select_anchors(np.array([0.0, 0.4, 0.9, 1.0]), np.array([0.2, 0.1, 0.3, 0.1]), 2).tolist()
    [1, 3]
    """
    inner = np.linspace(means.min(), means.max(), intervals + 1)[1:-1]
    interval = np.digitize(means, inner)
    members = [np.flatnonzero(interval == k) for k in range(intervals)]
    return np.array([some[deviations[some].argmin()] for some in members if len(some)])


def preferences(logits: Float[np.ndarray, "*n k"], divisor: float = 1.0) -> Float[np.ndarray, "*n"]:
    """Return how probable it is that the second picture is preferred: ``softmax(l / divisor) · (0 … 1)``.

    Args:
        logits: of the levels, from inferior to superior.
        divisor: 100 in the released code, which draws the preferences towards one half.

    >>> preferences(np.zeros((1, 5))).item()
    0.5
    """
    scaled = logits / divisor
    p = np.exp(scaled - scaled.max(-1, keepdims=True))
    return (p / p.sum(-1, keepdims=True)) @ np.linspace(0, 1, logits.shape[-1])


def map_scores(
    matrix: Float[np.ndarray, "*b n n"], link: Literal["probit", "logistic"] = "probit"
) -> Float[np.ndarray, "*b n"]:
    """Return the scores of highest posterior probability, whose mean is 0.

        q* = argmax_q Σ_ij C_ij log F(q_i − q_j) − Σ_i q_i² / 2

    ``C_ij`` is the probability that i is preferred to j; its transpose reverses the order. The objective is strictly
    concave, and Newton's method runs until its steps are below 1e-10.

    Args:
        matrix: C, or several.
        link: F, the normal distribution function (Thurstone's case V), or the logistic one of the released code.

    Raises:
        ValueError: for entries that are no probabilities.

    >>> map_scores(np.array([[0.5, 0.9], [0.1, 0.5]])).round(2).tolist()
    [0.3, -0.3]
    """
    if not ((matrix >= 0) & (matrix <= 1)).all():
        raise ValueError("the entries of a matrix of preferences must be from 0 to 1")
    slopes: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = _probit if link == "probit" else _logistic
    q = np.zeros(matrix.shape[:-1])
    diagonal = np.eye(matrix.shape[-1]) > 0
    for _ in range(_STEPS):
        first, second = slopes(q[..., :, None] - q[..., None, :])
        pull, curvature = matrix * first, matrix * second
        gradient = pull.sum(-1) - pull.sum(-2) - q
        both = np.where(diagonal, 0.0, curvature + np.swapaxes(curvature, -1, -2))
        hessian = np.where(diagonal, 1 - both.sum(-1, keepdims=True), both)
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        longest = np.abs(step).max(-1, keepdims=True)
        q = q + step / np.maximum(longest, 1)
        if longest.max() < _PRECISION:
            return q
    raise RuntimeError(f"Newton's method did not converge in {_STEPS} steps")


def _probit(d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and second derivative of ``log Φ``."""
    first = np.exp(-d * d / 2 - log_ndtr(d)) / np.sqrt(2 * np.pi)
    return first, -first * (d + first)


def _logistic(d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and second derivative of ``log σ``."""
    return expit(-d), -expit(d) * expit(-d)


def anchored_scores(
    anchors: Float[np.ndarray, "a a"],
    preferred: Float[np.ndarray, "n a"],
    link: Literal["probit", "logistic"] = "probit",
) -> Float[np.ndarray, " n"]:
    """Return the score of each example beside the anchors, whose mean is 0.

    Scores scaled to the range of the anchors would be equal for all examples above the best anchor, or below the worst
    one. These are not scaled, and can be ranked.

    Args:
        anchors: how probable it is that each anchor (row) is preferred to each other one.
        preferred: how probable it is that each example is preferred to each anchor; NaN where they were not compared.
        link: as in `map_scores`.
    """
    n, a = preferred.shape
    matrix = np.full((n, a + 1, a + 1), 0.5)
    matrix[:, :a, :a] = anchors
    matrix[:, a, :a], matrix[:, :a, a] = np.nan_to_num(preferred), np.nan_to_num(1 - preferred)
    q = map_scores(matrix, link)
    return q[:, a] - q[:, :a].mean(1)
