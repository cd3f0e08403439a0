"""One loss on the views of each example: how every contrastive loss becomes an arm of a comparison."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..networks.base import ImageTower, TextTower
from ..networks.heads import mlp
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Clock, Embeddings, View
from .base import TwoTower
from .dual_encoder import linear_heads

On = Literal["pairs", "images", "texts"]
"""Choices of what the views of an example are."""


class SingleLoss(TwoTower):
    """``L = loss(z_1, …, z_V)`` with z_v = nz(g(f(view v))), nz(u) = u / ‖u‖.

    ==========  ============================================================================================
    ``pairs``   a picture and its caption under CLIP's towers, views and linear heads; V = 2
    ``images``  V augmented views of the picture; g is SimCLR's perceptron, which is left off afterwards
    ``texts``   V passes of one caption under dropout (SimCSE); g likewise
    ==========  ============================================================================================

    On pictures or texts alone the other tower is not trained, and a user gets the tower's own features.

    Args:
        image, text: the towers.
        recipe: gives the widths: ``embedding`` for pairs, else ``ssl_hidden`` and ``ssl_output``.
        objective: the loss of unit-norm views ``(B, d)``.
        name: of the loss in logs.
        on: what is contrasted.
        views: V; more than 2 where the loss takes them.
        labels: which of the data's labels a loss that needs them gets.
        dropout: of the text tower's residual blocks, on texts.

    Raises:
        ValueError: for a number of views that the loss or the pair does not have.
    """

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        objective: nn.Module,
        name: str,
        *,
        on: On = "pairs",
        views: int = 2,
        labels: str = "group",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(image, text)
        most = 2 if on == "pairs" or not getattr(objective, "many_views", False) else None
        if views < 2 or (most is not None and views > most):
            raise ValueError(f"views={views}: {name} on {on} takes {'2' if most else '2 or more'}")
        widths = recipe.widths
        if on == "pairs":
            self.views = {"image": View("image", "weak"), "text": View("text")}
            self.projections = nn.ModuleDict(linear_heads(image, text, widths.embedding))
        else:
            one, other, augmentation = (
                ("image", text, "simclr") if on == "images" else ("text", image, "plain")
            )
            self.views = {f"{one}.{v}": View(one, augmentation) for v in range(1, views + 1)}
            width = image.width if on == "images" else text.width
            self.projections = nn.ModuleDict({one: mlp(width, widths.ssl_hidden, widths.ssl_output)})
            self.embeds = (one,)
            other.requires_grad_(False)
        self.objective, self.name, self.on = objective, name, on
        self.labels, self.dropout = labels, dropout
        self.papers = getattr(objective, "papers", ())

    def encode(self, batch: Batch) -> Embeddings:
        if self.on == "texts":
            return {name: self.text_tower(batch[name], dropout=self.dropout) for name in self.views}
        return super().encode(batch)

    def project(self, modality: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        if self.on != "pairs":
            return features
        return self.projections[modality](features)

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        views = [
            F.normalize(self.projections[view.modality](z[name]), dim=-1) for name, view in self.views.items()
        ]
        given = {}
        if getattr(self.objective, "needs_ids", False):
            given["ids"] = batch.ids
        if getattr(self.objective, "needs_labels", False):
            if self.labels not in batch.labels:
                raise unknown("label", self.labels, batch.labels)
            given["labels"] = batch.labels[self.labels]
        loss = self.objective(*views, **given)
        if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"{self.name} must return one number that depends on the embeddings, got {got}")
        return {self.name: loss}
