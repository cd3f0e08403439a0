"""Clusters of embeddings by their directions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

PAPERS = {"ccc-wav2vec2": ("cosine_kmeans",)}


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
