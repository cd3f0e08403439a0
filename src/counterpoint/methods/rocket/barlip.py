"""BarLIP: Barlow Twins from pictures to texts, added to CLIP."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...forms import NonNegative
from ...losses import BarlowTwinsLoss
from ...networks.base import ImageTower, TextTower
from ...networks.heads import mlp
from ...recipes.schema import Recipe
from ...types import Clock, Embeddings
from ..base import Ranges
from .global_local import (
    BasicOptions,
    CrossModalTerm,
    ImprovedOptions,
    RocketCLIP,
    improved,
    pairs,
)


class BarLIPTerm(CrossModalTerm):
    """The cross-correlation of a picture's and a text's projection is driven to the identity.

        C = v_Iᵀ v_T / N
        L = mean over the 1 + A² pairs of 0.025 · [ Σ_k (C_kk − 1)² + 0.005 · Σ_{k≠l} C_kl² ]

    v is a three-layer projection whose last batch norm standardises it. With fewer samples than dimensions C
    has rank N, so small runs use a small projection (``widths.barlip``).

    Args:
        image, text: the towers, for their widths.
        recipe: gives ``barlip_hidden`` and ``barlip``.
        separate: whether the local stream has projectors of its own.
    """

    name = "barlip"

    def __init__(self, image: ImageTower, text: TextTower, recipe: Recipe, *, separate: bool) -> None:
        super().__init__()
        hidden, out = recipe.widths.barlip_hidden, recipe.widths.barlip
        self.projector = nn.ModuleDict(
            {
                stream: nn.ModuleDict(
                    {
                        modality: mlp(tower.width, hidden, out, last_norm="affine")
                        for modality, tower in (("image", image), ("text", text))
                    }
                )
                for stream in (("global", "local") if separate else ("global",))
            }
        )
        self.objective = BarlowTwinsLoss()

    def project(self, features: Embeddings) -> Embeddings:
        projected = {}
        for view, feature in features.items():
            modality, _, local = view.partition(".")
            stream = "local" if local and "local" in self.projector else "global"
            projected[view] = self.projector.get_submodule(f"{stream}.{modality}")(feature)
        return projected

    def forward(
        self, features: Embeddings, embeddings: Embeddings, targets: Embeddings, clock: Clock
    ) -> Float[Tensor, ""]:
        v = self.project(features)
        return torch.stack([self.objective(v[image], v[text]) for image, text in pairs(features)]).mean()


class BarLIP(RocketCLIP):
    """L = L_CLIP + w · L_bar under the basic recipe; see `CLIP` and `BarLIPTerm`.

    Args:
        image, text: the towers.
        recipe: gives the widths.
        ssl_weight: w; the term has its factor of 0.025 already.
        options: ``views`` (0) and ``temperature`` (0.07).

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "ssl_weight": (0.25, 4.0)}

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        ssl_weight: NonNegative = 1.0,
        **options: Unpack[BasicOptions],
    ) -> None:
        term = BarLIPTerm(image, text, recipe, separate=False)
        super().__init__(image, text, recipe, term=term, ssl_weight=ssl_weight, **options)


class BarLIPRocket(RocketCLIP):
    """L = L_CLIP-rocket + w · L_bar under the improved recipe; see `CLIPRocket` and `BarLIPTerm`.

    Args:
        image, text: the towers.
        recipe: gives the widths, the smoothing and the dropout.
        ssl_weight: w; the term has its factor of 0.025 already.
        separate_proj_child: whether the local stream has projectors of its own.
        options: see `RocketCLIP`.

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {
        "temperature": (0.03, 0.2),
        "local_temperature": (0.03, 0.3),
        "ssl_weight": (0.25, 4.0),
    }

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        ssl_weight: NonNegative = 1.0,
        separate_proj_child: bool = False,
        **options: Unpack[ImprovedOptions],
    ) -> None:
        term = BarLIPTerm(image, text, recipe, separate=separate_proj_child)
        super().__init__(image, text, recipe, term=term, ssl_weight=ssl_weight, **improved(recipe, options))
