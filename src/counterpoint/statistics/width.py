"""The width of an interval over seeds, and the number of seeds that makes it narrow enough."""

from __future__ import annotations

import numpy as np
from scipy import special  # its statistics take half a second to import

from .intervals import satterthwaite
from .power import SeedsNeeded, least_seeds

_KNOWN = 1e6  # degrees of freedom of a variance that is taken as known


def for_width(
    sd: float, width: float, *, example_se: float, low_confidence: float, high_confidence: float
) -> SeedsNeeded:
    """Return how many seeds make an interval narrower than a width, which is then decided whatever its value.

    The interval reaches from the lower end at one confidence to the upper end at another. Its expected width is
    compared; the standard deviation is taken as known.

    Args:
        sd: standard deviation over seeds of one seed's value.
        width: what the interval is to be narrower than.
        example_se: the standard error from test examples that all seeds share.
        low_confidence, high_confidence: of either end.

    >>> needed = for_width(0.01, 0.02, example_se=0.0, low_confidence=0.95, high_confidence=0.95)
    >>> needed.n, round(expected_width(needed.n, 0.01, 0.0, 0.95, 0.95), 4)
    (7, 0.0185)
    """
    z = sum(float(special.ndtri((1 + confidence) / 2)) for confidence in (low_confidence, high_confidence))
    smallest = z * example_se
    if width <= smallest:
        return SeedsNeeded(None, width, 1.0, smallest, (smallest / width) ** 2)
    n = least_seeds(lambda n: expected_width(n, sd, example_se, low_confidence, high_confidence) < width)
    return SeedsNeeded(n, width, 1.0, smallest, 1.0)


def expected_width(n: int, sd: float, example_se: float, *confidences: float) -> float:
    """Return how wide an interval over n seeds is expected to be: the sum of its half-widths at some confidences."""
    variances = [sd**2 / n, example_se**2]
    if sum(variances) == 0:
        return 0.0
    degrees = satterthwaite(variances, [n - 1, _KNOWN])
    quantiles = (float(special.stdtrit(degrees, (1 + confidence) / 2)) for confidence in confidences)
    return float(np.sqrt(sum(variances))) * sum(quantiles)
