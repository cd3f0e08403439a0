"""The hinge of image–text matching: a pair beats the hardest other pair of its row and of its column by a margin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ._hardest import hardest


class HingeLoss(PairwiseLoss):
    """Each pair must beat the most similar wrong partner of its x and of its y by a margin m.

        loss = Σ_i [ m + max_{j≠i} <x_i, y_j> − <x_i, y_i> ]_+  +  Σ_j [ m + max_{i≠j} <x_i, y_j> − <x_j, y_j> ]_+

    The sum over the batch and not the mean, as those who use it have it. Of a batch of one the loss is 0.

    Args:
        margin: m > 0, of cosines.

    Raises:
        ValueError: for a margin out of its range, or embeddings that do not pair up.

    Source: Faghri et al., "VSE++: Improving Visual-Semantic Embeddings with Hard Negatives" (2018), arXiv 1707.05612;
    the base loss of Diao et al. (2024), arXiv 2404.18114.

    >>> import torch
    >>> x = torch.eye(4)
    >>> HingeLoss(0.2)(x, x).item(), round(HingeLoss(0.2)(x, x.roll(1, 0)).item(), 4)
    (0.0, 9.6)
    """

    family = "margin"
    is_method = True
    symmetric = True
    papers = ("dbl",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"margin": (0.05, 0.4)}

    def __init__(self, margin: Positive = 0.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``, of which row i of one belongs to row i of the other."""
        x, y = paired(x=x, y=y)
        positive = dot(x, y)
        of_rows, of_columns = hardest(self, x, y)
        short = (self.margin + of_rows - positive).relu() + (self.margin + of_columns - positive).relu()
        return self.mean(short) * self.count(x)
