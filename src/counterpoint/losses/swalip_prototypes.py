"""Codes over learned prototypes, predicted from the other view or modality."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ..forms import Count, Positive
from ..pairwise.temperature import Temperature
from .swav import SwAVLoss


class SwALIPPrototypesLoss(SwAVLoss):
    """Swapped prediction with K prototypes: image scores predict the codes of the text, and the reverse.

        loss = ½ [ H(Q(text scores), softmax(image scores/τ)) + H(Q(image scores), softmax(text scores/τ)) ]

    That is `SwAVLoss` of two views. Scores are cosines with the prototypes, which live in the network. Codes carry no
    gradient; with a momentum model they come from its scores.

    Args:
        temperature: τ; a number is fixed.
        epsilon: ε of Sinkhorn, see `counterpoint.pairwise.moments.sinkhorn`.
        iterations: at least 1.

    Source: Fini et al. (2023), arXiv 2305.08675 (its prototype version); Caron et al. (2020), arXiv
    2006.09882.

    >>> import torch
    >>> scores = torch.eye(3)
    >>> round(SwALIPPrototypesLoss(temperature=1.0)(scores, scores).item(), 4)
    0.5514
    """

    family = "clustering"
    symmetric = True
    stop_gradient = True
    papers = ("clip-rocket",)

    def __init__(
        self, temperature: Positive | Temperature = 0.1, *, epsilon: Positive = 0.05, iterations: Count = 3
    ) -> None:
        super().__init__(temperature, epsilon=epsilon, iterations=iterations)

    def forward(  # type: ignore[override] # two views by name
        self,
        image_scores: Float[Tensor, "B K"],
        text_scores: Float[Tensor, "B K"],
        image_targets: Float[Tensor, "B K"] | None = None,
        text_targets: Float[Tensor, "B K"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of scores, with codes from the scores themselves or from those of a momentum model."""
        image = image_scores if image_targets is None else image_targets
        text = text_scores if text_targets is None else text_targets
        return super().forward([image_scores, text_scores], targets=[image, text])
