"""SigLIP: every pair of the batch is classified on its own."""

from __future__ import annotations

from typing import ClassVar

from ..forms import Finite, Positive
from ..losses import SigLIPLoss
from ..networks.base import Towers
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from .base import Ranges
from .dual_encoder import DualEncoder, linear_heads


class SigLIP(DualEncoder):
    """CLIP's model with the pairwise sigmoid loss.

        loss = (1/B) Σ_i Σ_j softplus(−z_ij (<x_i, y_j>/τ + b)),   z_ij = +1 if i = j else −1

    τ and b are learned, τ without bounds.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding and B, the pairs of a step over all ranks.
        temperature: where τ starts (the paper's t is 1/τ).
        bias: where b starts. None is −log(B − 1), where the gradient of b vanishes before anything is learnt (see the
            loss); the paper has −10 at B = 32,768, where that is −10.4. 0 wrecks pretrained towers in the
            first steps.

    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (2023), arXiv 2303.15343.
    """

    family = "two towers"
    papers = ("siglip",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3), "bias": (-12.0, 0.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 0.1,
        bias: Finite | None = None,
    ) -> None:
        super().__init__(
            towers,
            linear_heads(towers, recipe.widths.embedding),
            SigLIPLoss(
                Temperature(temperature),
                bias=SigLIPLoss.balanced_bias(recipe.batch_size) if bias is None else bias,
            ),
            "siglip",
        )
