"""The number of seeds that would show a difference of a given size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import special  # its statistics take half a second to import

from .bootstrap import FEW_SEEDS
from .intervals import satterthwaite

FEW_PILOT_SEEDS = 3
"""Number of seeds below which their spread gives only a lower bound of the seeds needed."""
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
        at_least: the pilot has fewer than 3 seeds, so that ``n`` is a lower bound.
    """

    n: int | None
    effect: float
    power: float
    smallest: float
    examples_factor: float
    at_least: bool = False


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
    needed = from_spread(
        float(np.std(differences, ddof=1)), effect, example_se=example_se, power=power, confidence=confidence
    )
    return replace(needed, at_least=len(differences) < FEW_PILOT_SEEDS)


def from_spread(
    sd: float, effect: float, *, example_se: float, power: float, confidence: float, noise_sd: float = 0.0
) -> SeedsNeeded:
    """Return `seeds_needed` where the standard deviation over seeds is known already.

    The standard deviation over seeds is at least ``noise_sd``. The Multi-Bootstrap, whose interval a verdict must
    exclude zero by as well, resamples seeds and examples and so counts that noise twice: with S seeds its variance is
    sd² (S − 1) / S² + noise_sd² (2 S − 1) / S² + example_se².

    Args:
        sd: of the differences of single seeds, as observed.
        effect: the difference to show; its sign does not matter.
        example_se: the standard error from test examples that all seeds share.
        power: how often that many seeds are to show the difference.
        confidence: of the intervals.
        noise_sd: the standard deviation over seeds that comes from single examples, as of `noise_variance`.
    """
    sd = max(sd, noise_sd)
    effect = abs(effect)
    if not effect > 0:
        raise ValueError(f"effect is {effect}; give a difference other than 0")
    if not (0 < power < 1 and 0 < confidence < 1):
        raise ValueError(f"power is {power} and confidence {confidence}; both must lie between 0 and 1")
    z = float(special.ndtri((1 + confidence) / 2) + special.ndtri(power))
    smallest = z * example_se
    if effect <= smallest:
        return SeedsNeeded(None, effect, power, smallest, (smallest / effect) ** 2)
    spread = _Spread(sd, noise_sd, example_se)
    n = least_seeds(lambda n: _power(n, spread, effect, confidence) >= power)
    return SeedsNeeded(n, effect, power, smallest, 1.0)


def least_seeds(enough: Callable[[int], bool]) -> int | None:
    """Return the least number of seeds, at least 5, that is enough; None if 10,000 are not.

    Args:
        enough: whether a number of seeds is; with more seeds it stays true.

    >>> least_seeds(lambda n: n * n >= 150)
    13
    """
    low, high = FEW_SEEDS, _MOST
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


@dataclass(frozen=True)
class _Spread:
    """The standard deviations that a difference's uncertainty is made of; see `from_spread`."""

    sd: float
    noise_sd: float
    example_se: float


def _power(n: int, spread: _Spread, effect: float, confidence: float) -> float:
    """Return how often ``n`` seeds show an effect: the t interval and the bootstrap's must both exclude zero."""
    variances = [spread.sd**2 / n, spread.example_se**2]
    standard_error = float(np.sqrt(sum(variances)))
    if standard_error == 0:
        return 1.0
    degrees = satterthwaite(variances, [n - 1, _KNOWN])
    critical = float(special.stdtrit(degrees, (1 + confidence) / 2))
    ratio = effect / standard_error
    # Far out the noncentral t is numerically delicate and its tail beyond doubt.
    by_t = 1.0 if ratio > critical + 10 else float(1 - special.nctdtr(degrees, ratio, critical))
    resampled = spread.sd**2 * (n - 1) / n**2 + spread.noise_sd**2 * (2 * n - 1) / n**2 + spread.example_se**2
    half_width = float(special.ndtri((1 + confidence) / 2)) * float(np.sqrt(resampled))
    return min(by_t, float(special.ndtr((effect - half_width) / standard_error)))
