"""Custom Diffusion: words and keys and values learn, beside pictures of the plain class that the painter has drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from ..forms import Count, NonNegative
from ..networks.base import Towers
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, TrainingExamples
from ._personal import Personal, PersonalOptions, drawn_noise
from .base import ONCE
from .painter import NOISE, TIME

PRIOR = "prior."
"""Prefix of what is of pictures of the plain class."""


class CustomDiffusion(Personal):
    """Vectors of new words and additions to all keys and values of cross-attention.

        L = E ‖v − v_θ(x_t, t, c)‖² + prior · E ‖v − v_θ(x'_t, t, c')‖²

    x' are pictures that the painter has drawn, before the first step, of c', the prompt with the words of ``like`` in
    the place of new ones. The key and the value of the first token have no gradient.

    Args:
        towers, recipe, painter: as for `Personal`.
        prior: weight of the second term; 1 in the paper, which needs ``like``.
        prior_pictures: x'.
        options: of `Personal`.

    Raises:
        ValueError: for ``prior`` without ``like``.

    Source: Kumari et al., "Multi-Concept Customization of Text-to-Image Diffusion" (2022), arXiv 2212.04488.
    """

    keys: ClassVar[bool] = True
    drawn: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        painter: str,
        prior: NonNegative = 0.0,
        prior_pictures: Count = 16,
        **options: Unpack[PersonalOptions],
    ) -> None:
        super().__init__(towers, recipe, painter=painter, **options)
        self.prior = prior
        if prior and not self.learned.words.plain:
            raise ValueError(f"prior={prior:g} draws pictures of the plain class: name it with like=WORD")
        if prior:
            self.epoch_start_every = ONCE
            side = self.learned.painter.size
            self.register_buffer("drawn", torch.zeros(prior_pictures, 3, side, side))

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        seeds = torch.randint(1 << 30, (len(self.drawn),)).tolist()
        plain = [self.learned.words.plain] * len(seeds)
        self.drawn.copy_(self.learned.painter.draw(plain, seeds=seeds))

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        batch = super().prepare(batch, clock)
        if not self.prior:
            return batch
        ranks = Ranks.present()
        counts = ranks.counts(len(batch), self.drawn.device)
        chosen = torch.randint(len(self.drawn), (sum(counts),))[ranks.rows(counts)]
        pictures = self.drawn[chosen.to(self.drawn.device)]
        noise, times = drawn_noise(pictures)
        shown = {PRIOR + self.picture: pictures, PRIOR + NOISE: noise, PRIOR + TIME: times}
        return replace(batch, views={**batch.views, **shown})

    def encode(self, batch: Batch) -> Embeddings:
        z = super().encode(batch)
        if not self.prior:
            return z
        views = batch[PRIOR + self.picture], batch[PRIOR + NOISE], batch[PRIOR + TIME]
        return {**z, PRIOR + self.picture: self.learned.read(*views, self.learned.words.plain).errors()}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = super().losses(z, batch, clock)
        if self.prior:
            losses["prior"] = self.prior * moments.mean(z[PRIOR + self.picture], ranks=Ranks.present())
        return losses

    def passes(self) -> dict[str, float]:
        return {"image": 2.0 if self.prior else 1.0}
