"""Two coordinates for every vector, for a map of them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Taking = Callable[[Int[np.ndarray, " n"]], Float[np.ndarray, "n d"]]

MOST = 20_000
"""Rows that t-SNE places, spread evenly over all; a quick page shows no more."""

_FITTED_ON = 50_000  # rows, spread evenly, from which the directions are found
_FIRST = 50  # directions that t-SNE works on
_BLOCK = 50_000


def coordinates(
    take: Taking, modalities: np.ndarray, way: Literal["pca", "tsne"]
) -> Float[np.ndarray, "n 2"]:
    """Place vectors on a map; the same vectors always in the same places.

    The mean of a modality is taken from its vectors first: pictures and texts lie apart as wholes, and a map would show
    that and little else.

    Args:
        take: gives vectors by their positions.
        modalities: of all of them.
        way: the two directions of most variance, or t-SNE, of at most `MOST` rows: the others are NaN.
    """
    from sklearn.decomposition import PCA

    rows = len(modalities)
    fitted_on = _spread(rows, _FITTED_ON)
    some, of = take(fitted_on), modalities[fitted_on]
    means = {name: take(_spread_in(modalities == name, _FITTED_ON)).mean(0) for name in np.unique(modalities)}
    centred = some - np.stack([means[name] for name in of])
    count = min(2 if way == "pca" else _FIRST, *centred.shape)
    directions = PCA(count, svd_solver="full" if min(centred.shape) < 100 else "randomized", random_state=0)
    directions.fit(centred)

    def projected(chosen: Int[np.ndarray, " k"]) -> Float[np.ndarray, "k c"]:
        return directions.transform(take(chosen) - np.stack([means[name] for name in modalities[chosen]]))

    placed = np.full((rows, 2), np.nan, np.float32)
    if way == "pca":
        placed[:, count:] = 0
        for start in range(0, rows, _BLOCK):
            chosen = np.arange(start, min(start + _BLOCK, rows))
            placed[chosen, :count] = projected(chosen)
        return placed
    chosen = _spread(rows, MOST)
    placed[chosen] = _neighbours(projected(chosen))
    return placed


def _neighbours(vectors: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n 2"]:
    """Place vectors by t-SNE."""
    from sklearn.manifold import TSNE

    if len(vectors) < 4:  # too few for a neighbourhood
        return np.pad(vectors, ((0, 0), (0, 2)))[:, :2].astype(np.float32)
    way = TSNE(perplexity=min(30.0, (len(vectors) - 1) / 3), init="pca", random_state=0)
    return way.fit_transform(vectors)


def _spread(rows: int, count: int) -> Int[np.ndarray, " k"]:
    """Choose at most ``count`` rows, spread evenly."""
    return np.unique(np.linspace(0, rows - 1, min(count, rows)).astype(np.int64))


def _spread_in(mask: np.ndarray, count: int) -> Int[np.ndarray, " k"]:
    rows = np.flatnonzero(mask)
    return rows[_spread(len(rows), count)]
