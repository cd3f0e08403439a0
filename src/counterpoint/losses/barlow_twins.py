"""Barlow Twins: the cross-correlation of two embeddings is driven to the identity."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ..pairwise import moments
from ..pairwise.inputs import paired
from ..pairwise.loss import Loss


class BarlowTwinsLoss(Loss):
    """Matching features agree, different features are decorrelated.

        C = (1/N) Σ_i u_i v_iᵀ,   loss = scale · [ Σ_k (C_kk − 1)² + redundancy · Σ_{k ≠ l} C_kl² ]

    over the N samples of all ranks. Inputs are standardised over the batch per feature, as a last BatchNorm
    gives them (not unit-norm). With N below the number of features C has rank N: use fewer features then.

    Args:
        scale: of the whole loss.
        redundancy: the weight of the off-diagonal part.

    Source: Zbontar et al. (2021), arXiv 2103.03230; across modalities (BarLIP): Fini et al. (2023), arXiv
    2305.08675.

    >>> import torch
    >>> u = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> BarlowTwinsLoss()(u, u).item()
    0.0
    """

    family = "redundancy reduction"
    symmetric = True
    papers = ("clip-rocket",)

    def __init__(self, scale: float = 0.025, redundancy: float = 0.005) -> None:
        super().__init__()
        self.scale = scale
        self.redundancy = redundancy

    def forward(self, u: Float[Tensor, "B D"], v: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
        """Return the loss of batch-standardised ``u`` and ``v``."""
        u, v = paired(u=u, v=v)
        correlation = moments.cross_moment(u, v, ranks=self.ranks)
        diagonal = correlation.diagonal()
        off_diagonal = correlation.square().sum() - diagonal.square().sum()
        return self.scale * ((diagonal - 1).square().sum() + self.redundancy * off_diagonal)
