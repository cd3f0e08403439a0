"""AMCL: several projection heads, and a temperature of its own for every pair."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...losses import AMCLLoss
from ...networks.base import ImageTower, TextTower
from ...networks.heads import mlp
from ...recipes.schema import Recipe
from ...types import Batch, Clock, Embeddings, View
from ..base import Ranges, TwoTower
from ..dual_encoder import linear_heads


class AMCL(TwoTower):
    """L = Σ_c L_AMCL(z_1^c, z_2^c) with z_v^c = nz(g_c(f(view v))), nz(u) = u / ‖u‖; see the loss.

    ==========  ============================================================================================
    ``pairs``   a picture and its caption, under C linear heads a tower. What a user gets are the C
                embeddings side by side, whose cosine is the mean of those of the heads
    ``images``  two augmented views of the picture; g_c are perceptrons, which are left off afterwards, and
                the text tower is not trained
    ==========  ============================================================================================

    The heads share no weights; all share the network of the temperatures.

    Args:
        image, text: the towers.
        recipe: gives the widths: ``embedding`` for pairs, else ``ssl_hidden`` and ``ssl_output``.
        on: what is contrasted.
        heads: C, at least 1.
        beta: of the regulariser of the temperatures.
        tau_min: the lowest temperature.
        top_k: the number of hardest negatives in the form of the released code; all of them, in the
            log-sum-exp form, unless given.

    Raises:
        ValueError: for no heads, and what the loss refuses.

    Source: Wang et al., "Adaptive Multi-head Contrastive Learning" (2024), arXiv 2310.05615.
    """

    papers = ("amcl",)
    tunable: ClassVar[Ranges] = {"beta": (1e-5, 1e-2)}

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        on: Literal["pairs", "images"] = "pairs",
        heads: int = 3,
        beta: float = 1e-4,
        tau_min: float = 0.05,
        top_k: int | None = None,
    ) -> None:
        super().__init__(image, text)
        if heads < 1:
            raise ValueError(f"heads={heads}: at least one head is needed")
        widths = recipe.widths
        if on == "pairs":
            self.views = {"image": View("image", "weak"), "text": View("text")}
            each = [linear_heads(image, text, widths.embedding) for _ in range(heads)]
        else:
            self.views = {"image.1": View("image", "simclr"), "image.2": View("image", "simclr")}
            each = [{"image": mlp(image.width, widths.ssl_hidden, widths.ssl_output)} for _ in range(heads)]
            self.embeds = ("image",)
            text.requires_grad_(False)
        self.projections = nn.ModuleDict({m: nn.ModuleList(one[m] for one in each) for m in each[0]})
        width = widths.embedding if on == "pairs" else widths.ssl_output
        self.objective = AMCLLoss(width, beta=beta, tau_min=tau_min, top_k=top_k)
        self.on = on

    def project(self, modality: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return torch.cat(self._heads(modality, features), dim=-1) if self.on == "pairs" else features

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        x, y = (self._heads(view.modality, z[name]) for name, view in self.views.items())
        return {"amcl": self.objective(x, y)}

    def _heads(self, modality: str, features: Tensor) -> list[Tensor]:
        heads = self.projections[modality]
        assert isinstance(heads, nn.ModuleList)
        return [F.normalize(head(features), dim=-1) for head in heads]
