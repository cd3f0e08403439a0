"""SiamLIP: SimSiam from pictures to texts and back, added to CLIP."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...forms import NonNegative
from ...losses import NegativeCosineLoss
from ...networks.base import ImageTower, TextTower
from ...networks.batch_norm import BatchNorm1d
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


class SiamLIPTerm(CrossModalTerm):
    """Each modality predicts the projection of the other, which does not move.

        v = projector(features), p = predictor(v), D(p, v) = 2 − 2 mean_i <nz(p_i), nz(sg(v_i))>
        L = mean over the 1 + A² pairs of ( D(p_I, v_T) + D(p_T, v_I) ) / 2

    There is no image–image and no text–text term. Projectors and predictors are shared by the global and the
    local stream unless ``separate``; the projector's last batch norm never is.

    Args:
        image, text: the towers, for their widths.
        recipe: gives ``siamlip_hidden`` and ``siamlip_output``.
        separate: whether the local stream has projectors and predictors of its own.
        last_norm: whether the projector ends in a batch norm (without scale and shift).
    """

    name = "siamlip"

    def __init__(
        self, image: ImageTower, text: TextTower, recipe: Recipe, *, separate: bool, last_norm: bool = True
    ) -> None:
        super().__init__()
        hidden, out = recipe.widths.siamlip_hidden, recipe.widths.siamlip_output
        widths = {"image": image.width, "text": text.width}
        own = ("global", "local") if separate else ("global",)

        def per_modality(streams: tuple[str, ...], build: Callable[[str], nn.Module]) -> nn.ModuleDict:
            return nn.ModuleDict({s: nn.ModuleDict({m: build(m) for m in widths}) for s in streams})

        self.projector = per_modality(own, lambda m: mlp(widths[m], hidden, out, layers=2, bias=False))
        self.norm = per_modality(
            ("global", "local"), lambda m: BatchNorm1d(out, affine=False) if last_norm else nn.Identity()
        )
        self.predictor = per_modality(own, lambda m: mlp(out, hidden, out, layers=2, bias="last"))
        self.distance = NegativeCosineLoss()

    def _of(self, heads: nn.ModuleDict, view: str) -> nn.Module:
        """A view's module: the image's predictor is the one from image to text, and so on."""
        modality, _, local = view.partition(".")
        stream = "local" if local and "local" in heads else "global"
        return heads.get_submodule(f"{stream}.{modality}")

    def project(self, features: Embeddings) -> Embeddings:
        return {
            view: self._of(self.norm, view)(self._of(self.projector, view)(f)) for view, f in features.items()
        }

    def forward(
        self, features: Embeddings, embeddings: Embeddings, targets: Embeddings, clock: Clock
    ) -> Float[Tensor, ""]:
        v = self.project(features)
        p = {view: F.normalize(self._of(self.predictor, view)(v[view]), dim=-1) for view in v}
        target = {view: F.normalize(t, dim=-1) for view, t in (targets or v).items()}
        distances = []
        for image, text in pairs(features):
            distances += [self.distance(p[image], target[text]), self.distance(p[text], target[image])]
        return torch.stack(distances).mean()


class SiamLIP(RocketCLIP):
    """L = L_CLIP + w · L_siam under the basic recipe; see `CLIP` and `SiamLIPTerm`.

    Args:
        image, text: the towers.
        recipe: gives the widths.
        ssl_weight: w.
        last_norm: whether the projectors end in a batch norm.
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
        last_norm: bool = True,
        **options: Unpack[BasicOptions],
    ) -> None:
        term = SiamLIPTerm(image, text, recipe, separate=False, last_norm=last_norm)
        super().__init__(image, text, recipe, term=term, ssl_weight=ssl_weight, **options)


class SiamLIPRocket(RocketCLIP):
    """L = L_CLIP-rocket + w · L_siam under the improved recipe; see `CLIPRocket` and `SiamLIPTerm`.

    With A = 2 the term is a mean over 10 distances, and the sum of two directions in the contrastive loss
    halves its weight against that.

    Args:
        image, text: the towers.
        recipe: gives the widths, the smoothing and the dropout.
        ssl_weight: w.
        separate_proj_child: whether the local stream has projectors and predictors of its own.
        last_norm: whether the projectors end in a batch norm.
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
        last_norm: bool = True,
        **options: Unpack[ImprovedOptions],
    ) -> None:
        term = SiamLIPTerm(image, text, recipe, separate=separate_proj_child, last_norm=last_norm)
        super().__init__(image, text, recipe, term=term, ssl_weight=ssl_weight, **improved(recipe, options))
