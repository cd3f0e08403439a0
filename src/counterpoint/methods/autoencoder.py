"""An autoencoder of pictures, whose loss may be perceptual."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..forms import Count, NonNegative
from ..losses import MSSSIMLoss
from ..networks.base import Towers
from ..networks.heads import Linear
from ..networks.picture_decoder import PictureDecoder
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .needs import Needs
from .tower_method import TowerMethod, paired


class Autoencoder(TowerMethod):
    """A tower, a small code, and a decoder that draws the picture again.

        L = Δ(x, g(z)) + λ KL(q(z | x) ‖ N(0, I)),   z = W f(x), or a draw from q = N(W f(x), σ²) with λ > 0

    Δ is `MSSSIMLoss`, or the mean absolute (``l1``) or squared (``l2``) difference of pixels in [0, 1]. The code is the
    embedding of a picture. The paper weights Δ by C and not KL, so that λ = 1/C up to the learning rate. Gradients of
    the losses differ in scale: compare them each at a rate of its own.

    Args:
        towers: the image tower, by its column.
        recipe: unused.
        loss: Δ.
        code: the width of the code.
        kl: λ; 0 for a code without noise.

    Source: Snell et al., "Learning to Generate Images with Perceptual Similarity Metrics" (2015), arXiv 1511.06409,
    whose layers, window and C could not be verified.
    """

    family = "images"
    papers = ("perceptual-ms-ssim",)
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("image",))

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        loss: Literal["ms-ssim", "l1", "l2"] = "ms-ssim",
        code: Count = 32,
        kl: NonNegative = 0.0,
    ) -> None:
        super().__init__(towers)
        if recipe.towers.keep:
            raise ValueError("towers.keep: autoencoder draws the pictures themselves; leave keep out")
        (self.column,) = towers
        self.views = paired(towers)
        self.projections = nn.ModuleDict({self.column: Linear(self.image_tower.width, code, bias=True)})
        self.log_variance = Linear(self.image_tower.width, code, bias=True) if kl else None
        self.decoder = PictureDecoder(code, self.image_tower.size)
        self.loss, self.kl, self.draws = loss, kl, kl > 0
        self.objective = MSSSIMLoss.for_side(self.image_tower.size)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        code = self.project(self.column, z[self.column], "global")
        losses = {}
        if self.log_variance is not None:
            log_variance = upcast(self.log_variance(z[self.column])).clamp(-10, 10)
            mean = upcast(code)
            terms = (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2
            losses["kl"] = self.kl * moments.mean(terms, ranks=Ranks.present())
            code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return {"reconstruction": self.difference(batch[self.column], self.decoder(code)), **losses}

    def difference(
        self, pictures: Float[Tensor, "B 3 H W"], drawn: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, ""]:
        """Return Δ, the mean over pictures."""
        if self.loss == "ms-ssim":
            return self.objective(pictures, drawn)
        gaps = upcast(pictures) - upcast(drawn)
        terms = gaps.abs() if self.loss == "l1" else gaps.square()
        return moments.mean(terms.flatten(1).mean(1), ranks=Ranks.present())

    @torch.no_grad()
    def reconstruct(self, pictures: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n 3 size size"]:
        """Return pictures as the code holds them, with values in [0, 1]; the code is without noise."""
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            parts = torch.split(self.image_tower.input(pictures.to(device)), 256)
            codes = (self.project(self.column, self.features(self.column, x), "global") for x in parts)
            return torch.cat([self.decoder(code) for code in codes])
        finally:
            self.train(was_training)
