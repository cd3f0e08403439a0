"""Choices of two: what belongs to an example, or something else."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.embeddings import EmbeddingCache
from ..item_scores import answer_shares
from ..task import similarity


def nearer(
    features: EmbeddingCache,
    queries: Float[Tensor, "n d"],
    right: Float[Tensor, "n e"],
    wrong: Float[Tensor, "n e"],
) -> Float[np.ndarray, " n"]:
    """Return 1 where a query is more similar to what is right, 1/2 where both are equal up to rounding, else 0."""
    two = torch.stack([right, wrong], 1)
    return np.array(
        [
            answer_shares(similarity(features, z[None], both)[0])[0]
            for z, both in zip(queries, two, strict=True)
        ]
    )
