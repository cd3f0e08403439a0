"""CLIP: a picture and its caption agree more than either does with any other of the batch."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...losses import InfoNCELoss
from ...networks.base import ImageTower, TextTower
from ...networks.heads import Linear
from ...pairwise import Temperature
from ...recipes.schema import Recipe
from ...types import Batch, Clock, Embeddings, View
from ..base import Ranges, TwoTower


class CLIP(TwoTower):
    """Two linear heads and a symmetric softmax over the batch.

        x = nz(W_I f_I(image)),   y = nz(W_T f_T(text)),   nz(u) = u / ‖u‖
        S = x yᵀ / τ,   L = ( CE(S, i) + CE(Sᵀ, i) ) / 2

    τ is learned. One weakly augmented picture and one caption of each example; no smoothing, no dropout.

    Args:
        image, text: the towers.
        recipe: gives the width of the embedding.
        temperature: where τ starts; it is kept in [0.01, 1].

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
    arXiv 2103.00020; under the basic recipe of Fini et al. (2023), arXiv 2305.08675.
    """

    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}
    earlier: ClassVar = {"objective.global_.": "objective.", "objective.local.": ""}

    def __init__(
        self, image: ImageTower, text: TextTower, recipe: Recipe, *, temperature: float = 0.07
    ) -> None:
        super().__init__(image, text)
        self.views = {"image": View("image", "weak"), "text": View("text")}
        width = recipe.widths.embedding
        self.projections = nn.ModuleDict(
            {"image": Linear(image.width, width), "text": Linear(text.width, width)}
        )
        # Without the lower bound τ may shrink until a batch's gradients are those of its hardest pair alone.
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))

    def project(self, modality: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return self.projections[modality](features)

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        x = F.normalize(self.project("image", z["image"], "global"), dim=-1)
        y = F.normalize(self.project("text", z["text"], "global"), dim=-1)
        return {"clip": self.objective(x, y)}
