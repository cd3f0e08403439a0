"""LLaVA-UHD v2: an up-sampler that the picture guides is trained on pictures alone, then read by a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Count, Positive
from ..networks.base import Towers
from ..networks.bridges.pyramid import PyramidBridge
from ..networks.guided_upsampler import AttentionDownsampler
from ..networks.masking import drawn_for_batch
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Stage, StepInfo
from ._speaking import SpeakingMethod, TuneImage
from .base import Ranges

UPSAMPLE, SPEAK = "upsample", "speak"
"""Stages of a run."""
_JITTER, _DIRECTIONS, _ERROR = "jitter.", "directions.", "error."
_JITTERS, _NUMBERS, _PROJECTED = 2, 4, 30
_PADDING = 30 / 224
"""How far a jitter moves over the border, as a share of the side."""


class LLaVAUHDv2(SpeakingMethod):
    """Supervised fine-tuning on a pyramid of features, whose up-sampler is trained first.

    Upsample: for two jitters j of each picture I, and each finer level F_k,

        e = |P (down_k(j F_k) − f(j I))|² / 30,   L = Σ_k mean(e / 2 s² + log s),   s = exp(W_k f(j I) + 0.1)

    f is the tower of pictures. P are 30 random directions. A jitter zooms up to twice, moves and mirrors. The language
    model has no part in it, and the tower does not move.

    Speak: the loss of `SFT`. The up-sampler does not move. See `counterpoint.networks.bridges.pyramid.PyramidBridge`.

    Args:
        towers: of pictures, with features of patches, and of conversations.
        recipe: unused: the bridge is as wide as the towers.
        upsample, speak: shares of the steps of the two stages, relative to each other.
        finer: how many finer levels there are.
        guided: whether the picture guides the up-sampling. Else it is bicubic, a control, and the first stage trains
            what its errors are measured by alone.
        tokens: of a picture, a square number; one for four patches unless given.
        tune_image: as for `SFT`.

    Raises:
        ValueError: for a number of tokens that is no square, and for a tower with too few patches.
        LookupError: for a picture tower without features of patches.

    Source: Zhang et al., "LLaVA-UHD v2" (2024), arXiv 2412.13871, and its code. Its term of a conditional random field,
    of weight 0.001, is left out, and jitters are drawn for each picture.
    """

    family = "speaking"
    papers = ("llava-uhd-v2",)
    tunable: ClassVar[Ranges] = {}
    packs: ClassVar[bool] = True
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        upsample: Positive = 1.0,
        speak: Positive = 1.0,
        finer: Count = 2,
        guided: bool = True,
        tokens: Count | None = None,
        tune_image: TuneImage | None = None,
    ) -> None:
        super().__init__(towers, "pyramid", tokens, tune_image, finer=finer, guided=guided)
        prefix = f"bridge_projections.{self.picture}."
        first = (f"{prefix}upsamplers.", f"{prefix}corrections.", "downsamplers.", "spreads.")
        then = [name for name, _ in self.named_parameters() if not name.startswith(first)]
        width = self.image_tower.width
        self.downsamplers = nn.ModuleList(
            AttentionDownsampler(width, 2**level) for level in range(1, finer + 1)
        )
        self.spreads = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in range(finer))
        self.stages = (Stage(UPSAMPLE, upsample, first), Stage(SPEAK, speak, tuple(then)))
        self.stage = SPEAK

    @property
    def bridge(self) -> PyramidBridge:
        """The up-sampler and the attention within windows."""
        bridge = self.speaker.bridge
        assert isinstance(bridge, PyramidBridge)
        return bridge

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw jitters and directions in the first stage."""
        self.stage = clock.stage or SPEAK
        if self.stage == SPEAK:
            return batch
        pictures, width = batch[self.picture], self.image_tower.width
        jitter = drawn_for_batch(len(pictures), pictures.device, lambda n: torch.rand(n, _JITTERS, _NUMBERS))
        directions = drawn_for_batch(
            len(pictures), pictures.device, lambda n: torch.randn(n, _PROJECTED, width)
        )
        drawn = {_JITTER: jitter, _DIRECTIONS: F.normalize(directions, dim=2)}
        views = {name + self.picture: value.to(pictures.dtype) for name, value in drawn.items()}
        return replace(batch, views={**batch.views, **views})

    def encode(self, batch: Batch) -> Embeddings:
        if self.stage == SPEAK:
            return super().encode(batch)
        pictures = batch[self.picture]
        with torch.no_grad():
            patches = self.image_tower.patches(pictures)
        _, *finer = self.bridge.pyramid(patches, pictures)
        errors = []
        for numbers in batch[_JITTER + self.picture].unbind(1):
            target, reconstructed = self._reconstructed(pictures, finer, numbers)
            for made, spread in zip(reconstructed, self.spreads, strict=True):
                directions = batch[_DIRECTIONS + self.picture]
                projected = torch.einsum("bchw,bkc->bkhw", made - target, directions)
                log_s = spread(target)[:, 0] + 0.1
                error = projected.square().mean(1) / (2 * (2 * log_s).exp()) + log_s
                errors.append(error.mean((1, 2)))
        return {
            self.picture: patches.mean((2, 3)),
            _ERROR + self.picture: torch.stack(errors).sum(0) / _JITTERS,
        }

    @torch.no_grad()
    def reconstruction_errors(
        self, pictures: Float[Tensor, "B 3 H W"], numbers: Float[Tensor, "B 4"]
    ) -> Float[Tensor, " B"]:
        """Return the mean squared error of the features of jittered pictures, made of finer levels of the whole ones.

        It is the mean over levels, positions and channels, in evaluation mode. See `jittered` for the numbers.
        """

        def errors() -> Tensor:
            _, *finer = self.bridge.pyramid(self.image_tower.patches(pictures), pictures)
            target, reconstructed = self._reconstructed(pictures, finer, numbers)
            return (torch.stack(reconstructed) - target).square().mean((0, 2, 3, 4))

        return self._evaluated(errors)

    def _reconstructed(
        self, pictures: Float[Tensor, "B 3 H W"], finer: Sequence[Tensor], numbers: Float[Tensor, "B 4"]
    ) -> tuple[Float[Tensor, "B w r c"], list[Float[Tensor, "B w r c"]]]:
        """Return the features of jittered pictures, and what is made of each jittered level."""
        with torch.no_grad():
            target = self.image_tower.patches(jittered(pictures, numbers))
        levels = zip(finer, self.downsamplers, strict=True)
        return target, [down(jittered(level, numbers)) for level, down in levels]

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        if self.stage == SPEAK:
            return {"nll": self.mean_over_tokens(z[self.talk], batch[self.talk])}
        error = z[_ERROR + self.picture]
        return {"upsample": moments.mean(error, torch.ones_like(error), ranks=Ranks.present())}

    def passes(self) -> dict[str, float]:
        share = self.stages[0].share / sum(stage.share for stage in self.stages)
        passes = super().passes()
        image, talk = (self.tower(column).modality for column in (self.picture, self.talk))
        return {
            **passes,
            image: passes[image] * (1 + _JITTERS * share),
            talk: passes[talk] * (1 - share),
        }


def jittered(maps: Float[Tensor, "B C h w"], numbers: Float[Tensor, "B 4"]) -> Float[Tensor, "B C h w"]:
    """Return maps or pictures that are zoomed, moved and mirrored, the same at every size.

    Args:
        maps: whose borders are reflected.
        numbers: in [0, 1], of each: zoom, place from left to right and from top to bottom, mirrored or not.
    """
    zoom = 1 + numbers[:, 0]
    reach = 1 - 1 / zoom + 2 * _PADDING
    x, y = ((2 * numbers[:, axis] - 1) * reach for axis in (1, 2))
    sign = torch.where(numbers[:, 3] < 0.5, 1.0, -1.0).to(zoom)
    zero = torch.zeros_like(zoom)
    affine = torch.stack([torch.stack([sign / zoom, zero, x], 1), torch.stack([zero, 1 / zoom, y], 1)], 1)
    grid = F.affine_grid(affine, list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
