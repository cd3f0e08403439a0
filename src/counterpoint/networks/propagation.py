"""Propagation: each patch becomes a sum over similar patches of its picture."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Positive

PAPERS = {"pixpro": ("Propagation",)}


class Propagation(nn.Module):
    """Each patch becomes a sum over the patches of its view, weighted by similarity.

        y_i = Σ_j max(cos(x_i, x_j), 0)^γ nz(W x_j + b),    nz(u) = u / ‖u‖

    The weights are not normalised. The patch itself is in the sum.

    Args:
        width: of the features.
        gamma: γ.

    Source: Xie et al. (2020), arXiv 2011.10043, in its released setting of one layer of values.

    >>> import torch
    >>> Propagation(8)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, width: int, gamma: Positive = 2.0) -> None:
        super().__init__()
        self.value, self.gamma = nn.Linear(width, width), gamma

    def forward(self, x: Float[Tensor, "B P d"]) -> Float[Tensor, "B P d"]:
        unit = F.normalize(x, dim=-1)
        similarity = (unit @ unit.mT).clamp(min=0)
        if self.gamma < 1:  # the gradient of the power is infinite at 0
            similarity = similarity + 1e-6
        return similarity**self.gamma @ F.normalize(self.value(x), dim=-1)
