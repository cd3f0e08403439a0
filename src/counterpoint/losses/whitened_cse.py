"""The loss of WhitenedCSE: the first view against every other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired_views
from ..pairwise.loss import Loss
from ..pairwise.temperature import Temperature
from .simcse import SimCSELoss


class WhitenedCSELoss(Loss):
    """Each first view must find its example in every other view on its own.

        loss = Σ_{v=2..V}  mean_i  log Σ_j exp(<z_i^1, z_j^v>/τ) − <z_i^1, z_i^v>/τ

    A sum of V − 1 losses, each with the negatives of one view; two views give SimCSE. What makes the views
    differ is `counterpoint.networks.whitening.GroupWhitening`, under a shuffle of its own for each, which
    looks across the batch and therefore belongs to the method.

    Args:
        temperature: τ; a number is fixed.

    Raises:
        ValueError: for fewer than two views, or views that do not match.

    Source: Zhuo et al., "WhitenedCSE: Whitening-based Contrastive Learning of Sentence Embeddings" (2023),
    arXiv 2305.17746.

    >>> x = torch.eye(4)                              # twice log(1 + 3 / e)
    >>> round(WhitenedCSELoss(temperature=1.0)(x, x, x).item(), 4)
    1.4873
    """

    family = "softmax"
    is_method = True
    pairwise = True
    many_views = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.02, 0.2)}
    papers = ("whitened-cse",)

    def __init__(self, temperature: Positive | Temperature = 0.05) -> None:
        super().__init__()
        self.pair = SimCSELoss(temperature)

    def forward(self, *views: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of two or more unit-norm views of the same examples."""
        anchor, *others = paired_views(views)
        return torch.stack([self.pair(anchor, other) for other in others]).sum()
