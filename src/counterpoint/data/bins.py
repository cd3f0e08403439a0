"""Ranges of a number, where what is about classes is asked of numbers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

BINS = 20
"""Ranges of equal width that numbers are cut into, unless they are fewer different numbers."""


def edges_of(y: Float[np.ndarray, " n"], most: int = BINS) -> Float[np.ndarray, " _"]:
    """Return the edges of the ranges of some numbers, NaN left out: one for each number where they are few.

    >>> edges_of(np.array([0.0, 1.0, 4.0, np.nan]), most=2).tolist(), edges_of(np.array([0.0, 1.0, 4.0])).tolist()
    ([0.0, 2.0, 4.0], [-inf, 0.5, 2.5, inf])
    """
    values = np.unique(y[~np.isnan(y)])
    if not len(values):
        return np.array([-np.inf, np.inf])
    if len(values) <= most:
        return np.concatenate([[-np.inf], (values[:-1] + values[1:]) / 2, [np.inf]])
    return np.linspace(values[0], values[-1], most + 1)


def bin_of(y: Float[np.ndarray, " n"], edges: Float[np.ndarray, " _"]) -> Int[np.ndarray, " n"]:
    """Return the range of each number, the first or last of those outside, −1 of NaN."""
    number = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, len(edges) - 2)
    return np.where(np.isnan(y), -1, number)
