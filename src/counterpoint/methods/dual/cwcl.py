"""CWCL: a tower learns the geometry of a pretrained, frozen one."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ...losses import CWCLLoss
from ...networks import tune
from ...networks.base import ImageTower, TextTower
from ...networks.heads import Linear
from ...pairwise import Temperature
from ...recipes.schema import Recipe
from ...types import Batch, Clock, Embeddings
from ..base import Ranges
from ..dual_encoder import DualEncoder


class CWCL(DualEncoder):
    """A linear head maps the trained tower into the space of the frozen one, whose cosines are the targets.

        q = nz(f(frozen modality)),   p = nz(head(g(trained modality))),   w_ij = ((1 + <q_i, q_j>) / 2)^γ
        L = mean_i CE(q_i pᵀ/τ, w_i· / Σ_j w_ij) + mean_i CE(p_i qᵀ/τ, i)

    The frozen tower has no gradient and stays in evaluation mode. Its weights are named in the recipe or the
    arm: ``cwcl,text=transformers:NAME@FILE``. τ is learned within [0.01, 1].

    Args:
        image, text: the towers.
        recipe: its ``towers`` say which are pretrained.
        frozen: the modality whose tower is frozen.
        gamma: γ, above 1 to sharpen the targets.
        weighted_anchor: the direction with continuous targets; see the loss.
        temperature: where τ starts.

    Raises:
        ValueError: for another ``frozen``, or if that tower is not pretrained.

    Source: Srinivasa et al., "CWCL: Cross-Modal Transfer with Continuously Weighted Contrastive Loss" (2023),
    arXiv 2309.14580.
    """

    papers = ("cwcl",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "gamma": (1.0, 16.0)}

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        frozen: Literal["text", "image"] = "text",
        gamma: float = 1.0,
        weighted_anchor: Literal["frozen", "trained", "both"] = "frozen",
        temperature: float = 0.07,
    ) -> None:
        if frozen not in ("text", "image"):
            raise ValueError(f"frozen={frozen!r} must be 'text' or 'image'")
        name = getattr(recipe.towers, frozen)
        if "@" not in name:
            raise ValueError(
                f"frozen={frozen} wants the {frozen} tower pretrained, but it is {name!r}; name weights as "
                f"{frozen}=NAME@WEIGHTS"
            )
        fixed, moving = (text, image) if frozen == "text" else (image, text)
        trained = "image" if frozen == "text" else "text"
        tune(fixed, "frozen")
        super().__init__(
            image,
            text,
            {frozen: nn.Identity(), trained: Linear(moving.width, fixed.width)},
            CWCLLoss(
                Temperature(temperature, bounds=(0.01, 1.0)), gamma=gamma, weighted_anchor=weighted_anchor
            ),
            "cwcl",
        )
        self.frozen, self.trained = frozen, trained

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        q, p = (F.normalize(self.project(m, z[m], "global"), dim=-1) for m in (self.frozen, self.trained))
        return {self.name: self.objective(q, p)}
