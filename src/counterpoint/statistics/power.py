"""The number of seeds that would show a difference of a given size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from .bootstrap import FEW_SEEDS
from .intervals import satterthwaite

_MOST = 10_000
_KNOWN = 1e6  # degrees of freedom of a variance that is taken as known


@dataclass(frozen=True)
class SeedsNeeded:
    """The seeds that are needed to show ``effect``.

    Attributes:
        n: the number of seeds, at least 5; ``None`` where more seeds cannot show it (or 10,000 would not do).
        effect: the difference to be shown.
        power: how often that many seeds show it.
        smallest: the smallest difference that any number of seeds can show on this test set.
        examples_factor: how many times the test examples to have, at least, before seeds can help; 1 where
            they do.
    """

    n: int | None
    effect: float
    power: float
    smallest: float
    examples_factor: float


def seeds_needed(
    pilot: ArrayLike,
    effect: float,
    *,
    example_se: float = 0.0,
    power: float = 0.8,
    confidence: float = 0.95,
) -> SeedsNeeded:
    """Compute how many seeds show a difference of ``effect``, from the differences per seed in a pilot.

    With S seeds the estimate has variance sd² / S + example_se²; the two-sided t test with Satterthwaite's
    degrees of freedom is to reject with probability ``power``. The second term stays whatever S is, so a
    difference below (z(confidence) + z(power)) · example_se needs more test examples instead. The pilot's own
    sd is uncertain (with 3 seeds by a factor of two), and so is the answer.

    Args:
        pilot: one difference per seed, at least two.
        effect: the difference to show, in the metric's units; its sign does not matter.
        example_se: the standard error from test examples that all seeds share (`VerdictInterval.example_se`).

    >>> seeds_needed([0.02, 0.05, 0.01, 0.04], effect=0.02).n
    9
    >>> seeds_needed([0.02, 0.05, 0.01, 0.04], effect=0.02, example_se=0.01).n is None
    True
    """
    differences = np.asarray(pilot, dtype=np.float64).reshape(-1)
    if len(differences) < 2 or not np.isfinite(differences).all():
        raise ValueError(f"pilot is {differences.tolist()}; give the finite differences of at least 2 seeds")
    return from_spread(
        float(np.std(differences, ddof=1)), effect, example_se=example_se, power=power, confidence=confidence
    )


def from_spread(
    sd: float, effect: float, *, example_se: float, power: float, confidence: float
) -> SeedsNeeded:
    """Return `seeds_needed` where the standard deviation over seeds is known already."""
    effect = abs(effect)
    if not effect > 0:
        raise ValueError(f"effect is {effect}; give a difference other than 0")
    if not (0 < power < 1 and 0 < confidence < 1):
        raise ValueError(f"power is {power} and confidence {confidence}; both must lie between 0 and 1")
    z = float(stats.norm.ppf((1 + confidence) / 2) + stats.norm.ppf(power))
    smallest = z * example_se
    if effect <= smallest:
        return SeedsNeeded(None, effect, power, smallest, (smallest / effect) ** 2)
    low, high = FEW_SEEDS, _MOST
    if _power(high, sd, effect, example_se, confidence) < power:
        return SeedsNeeded(None, effect, power, smallest, 1.0)
    while low < high:
        middle = (low + high) // 2
        if _power(middle, sd, effect, example_se, confidence) >= power:
            high = middle
        else:
            low = middle + 1
    return SeedsNeeded(low, effect, power, smallest, 1.0)


def _power(n: int, sd: float, effect: float, example_se: float, confidence: float) -> float:
    variances = [sd**2 / n, example_se**2]
    standard_error = float(np.sqrt(sum(variances)))
    if standard_error == 0:
        return 1.0
    degrees = satterthwaite(variances, [n - 1, _KNOWN])
    critical = float(stats.t.ppf((1 + confidence) / 2, degrees))
    ratio = effect / standard_error
    # Far out the noncentral t is numerically delicate and its tail beyond doubt.
    return 1.0 if ratio > critical + 10 else float(stats.nct.sf(critical, degrees, ratio))
