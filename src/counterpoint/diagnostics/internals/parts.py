"""Objects, parts and key points in feature maps, judged by masks and places that are known.

Source: the semantic and key-point tasks of Walmer et al., "Teaching Matters" (2022), arXiv 2212.03862.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

PAPERS = {"teaching-matters": ("clustering", "pck", "transfer")}


def object_features(maps: Float[Tensor, "B C h w"], masks: Bool[Tensor, "B H W"]) -> Float[Tensor, "B C"]:
    """Return the mean of a map over an object: weighted by the share of each cell that the mask covers.

    NaN for a picture whose mask is empty.

    >>> maps = torch.tensor([[[[1.0, 3.0]]]])
    >>> object_features(maps, torch.tensor([[[True, True, True, False]]])).double().round(decimals=4).tolist()
    [[1.6667]]
    """
    weights = F.adaptive_avg_pool2d(masks[:, None].to(maps), (maps.shape[-2], maps.shape[-1]))
    total: Tensor = (maps * weights).sum((2, 3))
    return total / weights.sum((2, 3))


def cells(masks: Bool[Tensor, "B H W"], grid: tuple[int, int]) -> Bool[Tensor, "B N"]:
    """Return masks on a grid of patches, row by row: a patch belongs to the object if half of it does.

    >>> cells(torch.tensor([[[True, True, True, False]]]), (1, 2)).tolist()
    [[True, True]]
    """
    covered: Tensor = F.adaptive_avg_pool2d(masks[:, None].float(), grid)
    return covered.flatten(1) >= 0.5


def halves(masks: Bool[Tensor, "B H W"]) -> tuple[Bool[Tensor, "B H W"], Bool[Tensor, "B H W"]]:
    """Return the upper and the lower half of each mask, cut where its box has its middle: parts that every object has.

    A pixel row in the middle is the lower half's.

    >>> upper, lower = halves(torch.tensor([[[False], [True], [True], [True]]]))
    >>> upper[0, :, 0].tolist(), lower[0, :, 0].tolist()
    ([False, True, False, False], [False, False, True, True])
    """
    height = masks.shape[1]
    rows = torch.arange(height, device=masks.device)
    there = masks.any(2)
    top = torch.where(there, rows, height).amin(1)
    bottom = torch.where(there, rows, -1).amax(1) + 1
    above = rows < ((top + bottom) // 2)[:, None]
    return masks & above[..., None], masks & ~above[..., None]


@dataclass(frozen=True)
class Clustering:
    """The agreement of clusters with classes.

    Attributes:
        nmi: normalised mutual information, in [0, 1].
        ari: the adjusted Rand index, 0 by chance.
        purity: the share of examples in the majority class of their cluster; it grows with the number of
            clusters, so compare it at equal numbers.
    """

    nmi: float
    ari: float
    purity: float


def clustering(
    features: Float[np.ndarray, "n d"],
    classes: Int[np.ndarray, " n"],
    clusters: int | None = None,
    seed: int = 0,
) -> Clustering:
    """Group features by k-means, and compare the groups with classes.

    Args:
        features: of pictures, objects or parts.
        classes: of each.
        clusters: k; the number of classes unless given.
        seed: of k-means, the best of 10 starts.

    Raises:
        ValueError: if there is not one class for each row, or there are more clusters than rows.

    >>> z = np.array([[0.0, 0.0], [0.1, 0.0], [9.0, 9.0], [9.1, 9.0]])
    >>> clustering(z, np.array([0, 0, 1, 1])).purity
    1.0
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    k = len(np.unique(classes)) if clusters is None else clusters
    if classes.shape != features.shape[:1] or not 1 <= k <= len(features):
        raise ValueError(
            f"clustering needs a class for each row and at most as many clusters as rows; got {len(features)} rows, "
            f"classes of shape {classes.shape} and {k} clusters"
        )
    assigned = KMeans(k, n_init=10, random_state=seed).fit_predict(features)
    return Clustering(
        float(normalized_mutual_info_score(classes, assigned)),
        float(adjusted_rand_score(classes, assigned)),
        purity(assigned, classes),
    )


def purity(clusters: Int[np.ndarray, " n"], classes: Int[np.ndarray, " n"]) -> float:
    """Return the share of examples that are of the majority class of their cluster.

    >>> purity(np.array([0, 0, 0, 1]), np.array([2, 2, 5, 5]))
    0.75
    """
    majorities = [np.bincount(classes[clusters == c]).max() for c in np.unique(clusters)]
    return float(sum(majorities) / len(classes))


def transfer(
    source: Float[Tensor, "C h w"], points: Float[Tensor, "k 2"], target: Float[Tensor, "C h w"]
) -> Float[Tensor, "k 2"]:
    """Find key points of one picture in another: the cell of highest cosine with the feature at the point.

    Args:
        source, target: maps of the two pictures.
        points: (x, y) in the source, in [0, 1] from the upper left corner; features between cells are
            interpolated.

    Returns:
        The centres (x, y) of the cells found, in [0, 1].

    >>> maps = torch.eye(4).unflatten(1, (2, 2))             # each cell has a feature of its own
    >>> transfer(maps, torch.tensor([[0.25, 0.75]]), maps.flip(2)).tolist()
    [[0.75, 0.75]]
    """
    grid = (2 * points - 1)[None, None]
    at = F.grid_sample(source[None], grid.to(source), padding_mode="border", align_corners=False)[0, :, 0].T
    cosines = F.normalize(at, dim=1) @ F.normalize(target.flatten(1), dim=0)
    rows, columns = target.shape[1:]
    best = cosines.argmax(1)
    return torch.stack(
        [(best % columns + 0.5) / columns, (best.div(columns, rounding_mode="floor") + 0.5) / rows], 1
    )


def middle_of_cell(points: Float[Tensor, "k 2"], grid: tuple[int, int]) -> Float[Tensor, "k 2"]:
    """Return the centre (x, y) of the cell that each point is in: the best that `transfer` can answer on such maps.

    >>> middle_of_cell(torch.tensor([[0.1, 0.9], [1.0, 1.0]]), (2, 2)).tolist()
    [[0.25, 0.75], [0.75, 0.75]]
    """
    size = torch.tensor([grid[1], grid[0]], device=points.device)
    return ((points * size).floor().clamp(max=size - 1) + 0.5) / size


def pck(
    predicted: Float[Tensor, "*k 2"],
    true: Float[Tensor, "*k 2"],
    thresholds: Sequence[float] = (0.1, 0.05, 0.01),
) -> dict[float, float]:
    """Return the share of key points found within a distance of where they are, by threshold; NaN without points.

    Args:
        predicted, true: (x, y) in units of the longer side of the object or picture. Points that cannot be seen in
            both pictures do not belong here.
        thresholds: of the distance, itself still within.

    >>> pck(torch.tensor([[0.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.0, 0.07], [0.5, 0.5]]))
    {0.1: 1.0, 0.05: 0.5, 0.01: 0.5}
    """
    distances = (predicted - true).norm(dim=-1)
    return {alpha: float((distances <= alpha).double().mean()) for alpha in thresholds}
