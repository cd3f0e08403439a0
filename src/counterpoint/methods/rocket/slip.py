"""SLIP: CLIP, and SimCLR on two further views of the picture."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...forms import NonNegative
from ...losses import InfoNCELoss, NTXentLoss
from ...networks.base import ImageTower, TextTower
from ...networks.heads import mlp
from ...pairwise import Temperature
from ...recipes.schema import Recipe
from ...types import Batch, Clock, Embeddings, View
from ..base import Ranges, TwoTower
from ..dual_encoder import linear_heads


class SLIP(TwoTower):
    """L = L_CLIP(image, text) + w · NT-Xent(g(f_I(image.1)), g(f_I(image.2))).

    g is a three-layer perceptron with batch norm. The picture passes its tower three times, the caption once.

    Args:
        image, text: the towers.
        recipe: gives the widths: ``embedding``, ``ssl_hidden``, ``ssl_output``.
        temperature: where CLIP's learned τ starts, within [0.01, 1].
        ssl_weight: w.
        ssl_temperature: of NT-Xent; fixed.

    Source: Mu et al., "SLIP: Self-supervision meets Language-Image Pre-training" (2021), arXiv 2112.12750, as
    compared against by Fini et al. (2023), arXiv 2305.08675.
    """

    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "ssl_weight": (0.25, 4.0)}

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        temperature: float = 0.07,
        ssl_weight: NonNegative = 1.0,
        ssl_temperature: float = 0.1,
    ) -> None:
        super().__init__(image, text)
        self.views = {
            "image": View("image", "weak"),
            "text": View("text"),
            "image.1": View("image", "simclr"),
            "image.2": View("image", "simclr"),
        }
        widths = recipe.widths
        self.projections = nn.ModuleDict(linear_heads(image, text, widths.embedding))
        self.ssl_projection = mlp(image.width, widths.ssl_hidden, widths.ssl_output)
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))
        self.ssl_objective = NTXentLoss(ssl_temperature)
        self.ssl_weight = ssl_weight

    def project(self, modality: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return self.projections[modality](features)

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        x = F.normalize(self.project("image", z["image"], "global"), dim=-1)
        y = F.normalize(self.project("text", z["text"], "global"), dim=-1)
        v1, v2 = (F.normalize(self.ssl_projection(z[view]), dim=-1) for view in ("image.1", "image.2"))
        return {"clip": self.objective(x, y), "simclr": self.ssl_weight * self.ssl_objective(v1, v2)}
