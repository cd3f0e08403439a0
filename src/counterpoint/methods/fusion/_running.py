"""The running mean of features, over the examples of all ranks that have them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...pairwise.ranks import Ranks

MOMENTUM = 0.99


class RunningMean(nn.Module):
    """``Σ_t a_t mean_t / Σ_t a_t`` of the features of every step t so far, a_t = 0.99 a_{t+1}; 0 before the first.

    A step without any features is none.

    Args:
        width: of a feature.
    """

    weighted: Tensor
    weight: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("weighted", torch.zeros(width))
        self.register_buffer("weight", torch.zeros(()))

    @property
    def value(self) -> Float[Tensor, " d"]:
        return self.weighted / torch.where(self.weight == 0, 1.0, self.weight)

    @torch.no_grad()
    def add(self, features: Float[Tensor, "B d"], there: Bool[Tensor, " B"]) -> None:
        """Take in a step's features, of the examples that have them."""
        ranks = Ranks.present()
        count = ranks.total(there.sum())
        total = ranks.total(torch.where(there[:, None], features.to(self.weighted), 0.0).sum(0))
        rate = (1 - MOMENTUM) * (count > 0)
        self.weighted += rate * (total / count.clamp_min(1) - self.weighted)
        self.weight += rate * (1 - self.weight)
