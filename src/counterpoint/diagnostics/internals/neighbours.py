"""Nearest neighbours in a layer's features, and how well they tell classes apart.

Source: weighted k-NN of Wu et al. (2018), arXiv 1805.01978, block by block as in Walmer et al., "Teaching Matters"
(2022), arXiv 2212.03862.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

PAPERS = {"teaching-matters": ("named_by_neighbours",)}

PANEL = 1024
"""Queries that are compared with all others at once."""


def named_by_neighbours(
    features: Float[Tensor, "n d"], classes: Int[Tensor, " n"], k: int = 20, temperature: float = 0.07
) -> Bool[Tensor, " n"]:
    """Return whether the k others of highest cosine name an example's class, by votes of ``exp(cosine / τ)``.

    Each example is left out of its own neighbours. Of classes with as many votes the one with the lower number wins.

    Args:
        features: of a layer; normalised here.
        classes: not negative.
        k: neighbours; all others, if there are fewer. Compare layers at equal k.
        temperature: τ of the votes.

    Raises:
        ValueError: for fewer than two examples, or not a class for each.

    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> named_by_neighbours(z, torch.tensor([0, 0, 1, 1]), k=1).tolist()
    [True, True, True, True]
    """
    n = len(features)
    if n < 2 or len(classes) != n:
        raise ValueError(
            f"neighbours need two examples at least and a class for each, got {n} examples and {len(classes)} classes"
        )
    z, classes = F.normalize(features.float(), dim=1), classes.to(features.device)
    hits = []
    for queries in torch.split(torch.arange(n, device=z.device), PANEL):
        cosines = z[queries] @ z.T
        cosines[torch.arange(len(queries), device=z.device), queries] = -torch.inf
        nearest = cosines.topk(min(k, n - 1), dim=1)
        votes = cosines.new_zeros(len(queries), int(classes.max()) + 1)
        votes.scatter_add_(1, classes[nearest.indices], (nearest.values / temperature).exp())
        hits.append(votes.argmax(1) == classes[queries])
    return torch.cat(hits)
