"""The loss of an energy-based model, whose gradient is that of maximum likelihood."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ..forms import NonNegative
from ..pairwise.loss import Loss


class ContrastiveDivergenceLoss(Loss):
    """``L = mean_i E(x_i⁺) − mean_i E(x_i⁻) + c · mean_i (E(x_i⁺)² + E(x_i⁻)²)``.

    Low energy is data: L pulls E of the data down and pushes E of the model's own samples x⁻ up, which is the gradient
    of the negative log-likelihood. The last term keeps energies near 0; without it only their difference is known.

    Args:
        weight: c.

    Raises:
        ValueError: for a negative weight.

    Source: Du and Mordatch, "Implicit Generation and Generalization in Energy-Based Models" (2019), arXiv 1903.08689.

    >>> import torch
    >>> ContrastiveDivergenceLoss(0.5)(torch.tensor([-1.0]), torch.tensor([2.0])).item()
    -0.5
    """

    papers = ("ebm-vs-cl-vqa",)

    def __init__(self, weight: NonNegative = 0.1) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, positive: Float[Tensor, " B"], negative: Float[Tensor, " B"]) -> Float[Tensor, ""]:
        """Return the loss of the energies of the data and of as many samples, which must be detached from the model."""
        return self.mean(positive - negative + self.weight * (positive**2 + negative**2))
