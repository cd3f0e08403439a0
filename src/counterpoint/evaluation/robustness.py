"""Robustness to a shortcut that breaks: accuracy where it holds and where it misleads, and against a family's trend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit

PAPERS = {"mmcl-robustness": ("Trend",)}


@dataclass(frozen=True)
class Trend:
    """A line from the logit of accuracy without a shift to that of accuracy under the shift, over a family of models.

        logit(shifted) = slope · logit(original) + intercept

    The effective robustness of a model is how far its shifted accuracy is above that of the family at the same
    original accuracy. Within the range of the family it means something; beyond it the line is a guess.

    Attributes:
        slope, intercept: of the line.

    >>> family = Trend.fit(np.array([0.6, 0.7, 0.9]), np.array([0.4, 0.5, 0.8]))
    >>> round(float(family.effective_robustness(0.8, 0.75)), 3)
    0.112

    Source: Taori et al., "Measuring Robustness to Natural Distribution Shifts in Image Classification" (2020), arXiv
    2007.00644.
    """

    slope: float
    intercept: float

    @classmethod
    def fit(cls, original: Float[np.ndarray, " M"], shifted: Float[np.ndarray, " M"]) -> Self:
        """Fit the least-squares line of M models.

        Raises:
            ValueError: for accuracies that do not pair up or of which all original ones are equal, or one of 0 or 1,
                which has no logit: count (hits + ½) / (n + 1) instead.
        """
        if original.shape != shifted.shape or len(np.unique(original)) < 2:
            raise ValueError(
                f"a trend needs two models of different accuracy, each with both accuracies; got {original.tolist()} "
                f"and {shifted.tolist()}"
            )
        slope, intercept = np.polyfit(_logits(original), _logits(shifted), 1)
        return cls(float(slope), float(intercept))

    def expected(self, original: float | Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
        """Return the shifted accuracy of the family at an original one."""
        return np.asarray(expit(self.slope * _logits(np.asarray(original)) + self.intercept))

    def effective_robustness(
        self, original: float | Float[np.ndarray, ...], shifted: float | Float[np.ndarray, ...]
    ) -> Float[np.ndarray, ...]:
        """Compute how far a shifted accuracy is above the family's at the same original accuracy."""
        return np.asarray(shifted - self.expected(original))


def _logits(accuracies: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    if not ((accuracies > 0) & (accuracies < 1)).all():
        raise ValueError(
            f"accuracies must lie strictly between 0 and 1, got {accuracies.tolist()}: of n examples count "
            "(hits + 1/2) / (n + 1)"
        )
    return logit(accuracies)
