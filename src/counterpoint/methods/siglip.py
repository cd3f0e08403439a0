"""SigLIP: every pair of the batch is classified on its own."""

from __future__ import annotations

from typing import ClassVar

from ..networks.base import ImageTower, TextTower
from ..objectives import SigLIP as SigLIPObjective
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from .base import Ranges
from .dual import DualEncoder, linear_heads


class SigLIP(DualEncoder):
    """CLIP's model with the pairwise sigmoid loss.

        loss = (1/B) Σ_i Σ_j softplus(−z_ij (<x_i, y_j>/τ + b)),   z_ij = +1 if i = j else −1

    τ and b are learned, τ without bounds.

    Args:
        image, text: the towers.
        recipe: gives the width of the embedding.
        temperature: where τ starts (the paper's t is 1/τ).
        bias_init: where b starts. −10 keeps the first loss small; −log(B − 1) is the balanced prior, 0 wrecks
            pretrained towers in the first steps.

    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (2023), arXiv 2303.15343.
    """

    papers = ("siglip",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3)}

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        temperature: float = 0.1,
        bias_init: float = -10.0,
    ) -> None:
        super().__init__(
            image,
            text,
            linear_heads(image, text, recipe.widths.embedding),
            SigLIPObjective(Temperature(temperature), bias=bias_init),
            "siglip",
        )
