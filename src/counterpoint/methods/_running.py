"""Running means over the examples of all ranks that have features: of these, and of what maps some on others."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..pairwise.ranks import Ranks

MOMENTUM = 0.99
RIDGE = 1e-4
"""Ridge of a map, as a share of the mean square of what it maps."""


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
    def add(self, features: Float[Tensor, "B d"], mask: Bool[Tensor, " B"]) -> None:
        """Take in a step's features, of the examples that have them."""
        ranks = Ranks.present()
        count = ranks.total(mask.sum())
        total = ranks.total(torch.where(mask[:, None], features.to(self.weighted), 0.0).sum(0))
        rate = (1 - MOMENTUM) * (count > 0)
        self.weighted += rate * (total / count.clamp_min(1) - self.weighted)
        self.weight += rate * (1 - self.weight)


class RunningMap(nn.Module):
    """``x ↦ [x 1] (M + ρI)⁻¹ N``, the least-squares map with an intercept, of running means as `RunningMean` has them.

    M is the mean of ``[x 1]ᵀ[x 1]`` and N that of ``[x 1]ᵀy`` over the examples that have both; ρ, a small share of the
    mean diagonal of M, keeps 0 what x does not span. Before the first step everything is mapped to 0.

    Args:
        width: of x.
        out: of y.
    """

    squares: Tensor
    products: Tensor

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.register_buffer("squares", torch.zeros(width + 1, width + 1))
        self.register_buffer("products", torch.zeros(width + 1, out))

    def forward(self, x: Float[Tensor, "B p"]) -> Float[Tensor, "B q"]:
        ridge = (RIDGE * self.squares.diagonal().mean()).clamp_min(1e-12)
        eye = torch.eye(len(self.squares), dtype=self.squares.dtype, device=self.squares.device)
        return _with_one(x.to(self.squares)) @ torch.linalg.solve(self.squares + ridge * eye, self.products)

    @torch.no_grad()
    def add(self, x: Float[Tensor, "B p"], y: Float[Tensor, "B q"], mask: Bool[Tensor, " B"]) -> None:
        """Take in a step's features, of the examples that have both."""
        ranks = Ranks.present()
        count = ranks.total(mask.sum())
        rows, values = (torch.where(mask[:, None], of.to(self.squares), 0.0) for of in (_with_one(x), y))
        rate = (1 - MOMENTUM) * (count > 0)
        for moment, total in ((self.squares, rows.T @ rows), (self.products, rows.T @ values)):
            moment += rate * (ranks.total(total) / count.clamp_min(1) - moment)


def _with_one(x: Float[Tensor, "B p"]) -> Float[Tensor, "B p1"]:
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)
