"""The plain dual encoder: one picture, one caption, a head each, one loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..networks.base import ImageTower, TextTower
from ..networks.heads import Linear
from ..types import Batch, Clock, Embeddings, View
from .base import TwoTower


class DualEncoder(TwoTower):
    """``loss(x, y)`` with x = nz(head_I(f_I(image))), y = nz(head_T(f_T(text))), nz(u) = u / ‖u‖.

    The base of the methods that differ from each other in nothing but heads, views and loss.

    Args:
        image, text: the towers.
        heads: the head of each modality, both into one space.
        objective: the loss of unit-norm ``(B, d)`` images and texts.
        name: of the loss in logs.
        image_view: how the picture is augmented.
    """

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        heads: Mapping[str, nn.Module],
        objective: nn.Module,
        name: str,
        image_view: str = "weak",
    ) -> None:
        super().__init__(image, text)
        self.views = {"image": View("image", image_view), "text": View("text")}
        self.projections = nn.ModuleDict(heads)
        self.objective = objective
        self.name = name

    def project(self, modality: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return self.projections[modality](features)

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        x = F.normalize(self.project("image", z["image"], "global"), dim=-1)
        y = F.normalize(self.project("text", z["text"], "global"), dim=-1)
        return {self.name: self.objective(x, y)}


def linear_heads(image: ImageTower, text: TextTower, width: int) -> dict[str, nn.Module]:
    """CLIP's heads: linear, without bias, from N(0, width^−½)."""
    return {"image": Linear(image.width, width), "text": Linear(text.width, width)}
