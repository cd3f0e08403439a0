"""Clusters of embeddings by their directions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

PAPERS = {"ccc-wav2vec2": ("cosine_kmeans",), "sbcl": ("balanced_kmeans",), "mlcd": ("nearest_centres",)}

_NONE = float("-inf")
_PART = 4096  # vectors that are compared with all centres at once


@torch.no_grad()
def cosine_kmeans(x: Float[Tensor, "n d"], count: int, *, iterations: int = 10) -> Int[Tensor, " n"]:
    """Return the cluster of each vector by k-means on the sphere, which starts from vectors spread over the rows.

    A centre that no vector is nearest to stays where it is.

    >>> cosine_kmeans(torch.tensor([[1.0, 0.1], [5.0, 0.0], [0.0, 2.0], [0.1, 3.0]]), 2).tolist()
    [0, 0, 1, 1]

    Args:
        x: the vectors, whose length does not matter.
        count: of clusters; no more than there are vectors are made.
        iterations: of moving the centres.
    """
    z = F.normalize(x, dim=-1)
    count = min(count, len(z))
    centres = z[torch.linspace(0, len(z) - 1, count, device=z.device).round().long()]
    nearest = (z @ centres.T).argmax(1)
    for _ in range(iterations):
        sums = torch.zeros_like(centres).index_add_(0, nearest, z)
        left = torch.bincount(nearest, minlength=count) == 0
        centres = torch.where(left[:, None], centres, F.normalize(sums, dim=-1))
        nearest = (z @ centres.T).argmax(1)
    return nearest


@torch.no_grad()
def balanced_kmeans(
    x: Float[Tensor, "n d"], count: int, *, seed: int = 0, iterations: int = 30
) -> Int[Tensor, " n"]:
    """Return the cluster of each vector by k-means on the sphere, whose clusters differ in size by one at most.

    Vectors go to centres in the order of their cosines, the highest of all first, while a cluster has fewer than
    ⌊n / count⌋; of those that are left each cluster takes one at most. Centres begin by k-means++ and move until
    nothing changes.

    >>> balanced_kmeans(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [1.0, 0.9]]), 2).bincount().tolist()
    [2, 2]

    Args:
        x: the vectors, whose length does not matter.
        count: of clusters.
        seed: of the first centres.
        iterations: of moving the centres, at most.

    Raises:
        ValueError: for fewer vectors than clusters.

    Source: the assignment, Hou et al., "Subclass-balancing Contrastive Learning for Long-tailed Recognition" (2023),
    arXiv 2306.15925, by cosines; its code divides them by their sum over a centre, which may be 0.
    """
    if not 1 <= count <= len(x):
        raise ValueError(f"{len(x)} vectors cannot make {count} clusters: ask for fewer")
    from sklearn.cluster import kmeans_plusplus

    z = F.normalize(x.float(), dim=-1)
    first, _ = kmeans_plusplus(z.cpu().numpy(), count, random_state=seed)
    centres = torch.from_numpy(first).to(z)
    nearest = torch.full((len(z),), -1, device=z.device)
    for _ in range(iterations):
        scores = z @ centres.T
        cluster = _greedy(scores, len(z) // count)
        left = cluster < 0
        cluster[left] = _greedy(scores[left], 1)
        if torch.equal(cluster, nearest):
            break
        nearest = cluster
        centres = F.normalize(torch.zeros_like(centres).index_add_(0, nearest, z), dim=-1)
    return nearest


@torch.no_grad()
def nearest_centres(
    x: Float[Tensor, "n d"], count: int, nearest: int, *, seed: int = 0
) -> Int[Tensor, "n nearest"]:
    """Return the clusters whose centres are nearest to each vector, the nearest first, by mini-batch k-means.

    Vectors and centres are compared by their directions.

    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 2.0], [0.1, 3.0]])
    >>> own, other = nearest_centres(x, 2, 2).T
    >>> own[0] == own[1], own[2] == own[3], own[0] == other[2]
    (tensor(True), tensor(True), tensor(True))

    Args:
        x: the vectors, whose length does not matter.
        count: of clusters.
        nearest: centres of each vector.
        seed: of the first centres, and of the batches.

    Raises:
        ValueError: for fewer vectors than clusters.

    Source: several centres a vector, An et al., "Multi-label Cluster Discrimination for Visual Representation Learning"
    (2024), arXiv 2407.17331.
    """
    if not 1 <= count <= len(x):
        raise ValueError(f"{len(x)} vectors cannot make {count} clusters: ask for fewer")
    from sklearn.cluster import MiniBatchKMeans

    z = F.normalize(x.float(), dim=-1)
    cluster_centers = (
        MiniBatchKMeans(count, random_state=seed, n_init=1).fit(z.cpu().numpy()).cluster_centers_
    )
    centres = F.normalize(torch.from_numpy(cluster_centers).to(z), dim=-1)
    # In parts: all cosines of many vectors with many centres are more than memory holds.
    return torch.cat([(part @ centres.T).topk(nearest).indices for part in torch.split(z, _PART)])


def _greedy(scores: Float[Tensor, "n k"], room: int) -> Int[Tensor, " n"]:
    """Assign rows to columns in the order of their scores, at most ``room`` a column; −1 where none has room.

    All free rows ask the best column that has not refused them, and each column keeps the best of those that have ever
    asked: the same assignment, in few rounds.
    """
    remaining, column = scores.clone(), torch.full((len(scores),), -1, device=scores.device)
    while len(free := torch.nonzero((column < 0) & (remaining.amax(1) > _NONE))[:, 0]):
        column[free] = remaining[free].argmax(1)
        score = scores.gather(1, column.clamp_min(0)[:, None])[:, 0]
        order = torch.argsort(score, descending=True, stable=True)
        order = order[torch.argsort(column[order], stable=True)]
        of = column[order]
        rank = torch.arange(len(of), device=of.device) - torch.searchsorted(of, of)
        refused = order[(rank >= room) & (of >= 0)]
        remaining[refused, column[refused]] = _NONE
        column[refused] = -1
    return column
