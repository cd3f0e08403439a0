"""ALIGN: the text is mapped into the space of the picture's features."""

from __future__ import annotations

from typing import ClassVar

from ..forms import BelowOne, Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from .base import Ranges
from .dual_encoder import DualEncoder, heads_into_first


class ALIGN(DualEncoder):
    """A dual encoder without an image head, trained with the sum of both smoothed softmax losses.

        loss = mean_i CE_ε(<x_i, y_·>/σ, i) + mean_i CE_ε(<y_i, x_·>/σ, i)

    x is the tower's own feature vector and the text's linear head maps to its width. Smoothing spreads over
    the whole batch. σ is learned, without bounds.

    Args:
        towers: the towers, by column.
        recipe: not used beyond the towers; the embedding has the image tower's width.
        temperature: where σ starts. The paper's 1.0 learns slowly at first.
        smoothing: ε.

    Source: Jia et al., "Scaling Up Visual and Vision-Language Representation Learning With Noisy Text
    Supervision" (2021), arXiv 2102.05918.
    """

    family = "two towers"
    papers = ("align",)
    tunable: ClassVar[Ranges] = {"temperature": (0.05, 1.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 1.0,
        smoothing: BelowOne = 0.1,
    ) -> None:
        super().__init__(
            towers,
            heads_into_first(towers),
            InfoNCELoss(Temperature(temperature), label_smoothing=smoothing, weights=(1.0, 1.0)),
            "align",
        )
