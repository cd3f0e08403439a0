"""A bank of learned prototypes that stand in for the vectors of sentences."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .towers.transformer import Embedding

PAPERS = {"prior": ("PrototypeBank",)}


class PrototypeBank(nn.Module):
    """Replaces vectors by mixtures of prototypes e_m.

        w = softmax((u Eᵀ + g) / τ),   u' = w E,   g = −log(−log U) noise of Gumbel's distribution

    Without noise w is the softmax alone, as in evaluation.

    Args:
        count: of prototypes.
        width: of vectors and prototypes.
        tau: τ.

    Source: Cheng et al., "PRIOR: Prototype Representation Joint Learning from Medical Images and Reports" (2023), arXiv
    2307.12577.

    >>> PrototypeBank(5, 4)(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, count: int, width: int, tau: float = 0.9) -> None:
        super().__init__()
        self.tau = tau
        self.prototypes = Embedding(count, width, std=1.0)

    def scores(self, u: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch count"]:
        """Return the dot products of vectors with all prototypes."""
        return u @ self.prototypes.weight.T

    def forward(
        self, u: Float[Tensor, "*batch width"], noise: Float[Tensor, "*batch count"] | None = None
    ) -> Float[Tensor, "*batch width"]:
        """Return the mixtures of prototypes that stand in for vectors."""
        scores = self.scores(u)
        weights = ((scores if noise is None else scores + noise.to(scores)) / self.tau).softmax(-1)
        return weights @ self.prototypes.weight


def gumbel_noise(*shape: int) -> Tensor:
    """Draw noise of Gumbel's distribution from torch's generator.

    >>> gumbel_noise(2, 3).shape
    torch.Size([2, 3])
    """
    return -torch.empty(shape).exponential_().log()
