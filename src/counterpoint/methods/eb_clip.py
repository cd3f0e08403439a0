"""EB-CLIP: CLIP on attacked pictures, whose energy is low for real pictures and high for drawn ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Natural, NonNegative, Positive
from ..generation.ascent import fit_pixels, gaussian_pictures, perturb
from ..losses import HardNegativesLoss, InfoNCELoss
from ..networks import tune
from ..networks.base import Towers
from ..pairwise import Temperature, moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, paired

ATTACKED, DRAWN = "attacked.", "drawn."
"""Beginnings of the names of the views that `EBCLIP.prepare` makes of pictures."""
_RAMP = 0.1
"""Share of the steps in which γ rises from 0: pictures drawn by an encoder that is not robust yet fit too well."""


class EBCLIP(TowerMethod):
    """CLIP as an energy-based model: contrast on attacked pictures, and drawn pictures as further negatives.

        E(x, y) = −<x, y>,   x of pictures, y of captions, each nz(W f(·))
        L = CLIP(x(attacked), y) + γ mean_i −log [ exp(x_i · y_i / τ) / Σ_j (exp(x_j · y_i / τ) + exp(d_j · y_i / τ)) ]

    An attacked picture is the real one after ascent on CLIP's loss in a ball (`perturb`). A drawn picture, with
    embedding d, begins as a draw from the Gaussian of the batch's pictures (`gaussian_pictures`) and descends on CLIP's
    loss towards its own caption (`fit_pixels`). Both are made in evaluation mode and are constants to the gradient.
    Drawn pictures stand in the denominator alone: they are never a caption's own. γ rises from 0 in the first tenth of
    the steps.

    The text tower and its head are frozen; continue from a pair (``from=RUN``) or name a trained text tower. With
    ``attack=0,drawing=0`` it is `CLIP` with these frozen. A step costs attack + drawing + 3 passes of a picture.
    ``energy_gap``, E(drawn) − E(real), is logged: it is above 0 where real pictures fit better.

    Captions that occur twice in a batch are false negatives of each other, as in `CLIP`.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding.
        attack: steps of ascent; 0 for real pictures.
        radius: of the ball: the root mean square change of a pixel. 0.009 is ε = 0.5 for 32 × 32 pixels, and 3.5 for
            224 × 224.
        drawing: steps of descent; 0 for no drawn pictures.
        rate: the learning rate of pixels.
        gamma: γ.
        temperature: where τ starts; it is kept in [0.01, 1].

    Source: Ganz and Elad, "Text-to-Image Generation Via Energy-Based CLIP" (2024), arXiv 2408.17046. Its radius,
    numbers of steps, γ, starts and augmentations could not be verified. The rate is that of CLIPAG (2023), by the same
    authors, whose notebook draws from Gaussians of single classes.
    """

    family = "two towers"
    papers = ("eb-clip",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "gamma": (0.1, 1.0)}
    tuned_modalities: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        attack: Natural = 3,
        radius: Positive = 0.009,
        drawing: Natural = 8,
        rate: Positive = 0.0175,
        gamma: NonNegative = 0.5,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        self.picture, self.text = towers
        self.attacked, self.drawn = ATTACKED + self.picture, DRAWN + self.picture
        self.views = paired(towers)
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        tune(towers[self.text], "frozen")
        self.projections[self.columns[self.text]].requires_grad_(False)
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))
        self.energy = HardNegativesLoss(self.objective.temperature)
        self.attack, self.radius = attack, radius
        self.drawing, self.rate, self.gamma = drawing if gamma else 0, rate, gamma
        self.draws = self.drawing > 0
        self._gap = 0.0

    @property
    def shown(self) -> tuple[str, ...]:
        """The views of pictures that `losses` reads."""
        real = (self.picture,) if self.drawing or not self.attack else ()
        return (*real, *(self.attacked,) * (self.attack > 0), *(self.drawn,) * (self.drawing > 0))

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        if not self.attack and not self.drawing:
            return batch
        pictures, views = batch[self.picture], dict(batch.views)
        with self._evaluating():
            y = self.embed_texts(batch[self.text])

            def loss(some: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
                x = self.embed_pictures(some)
                return (self.objective(x, y) + self.objective(y, x)) / 2

            if self.attack:
                radius = self.radius * pictures[0].numel() ** 0.5
                views[self.attacked] = perturb(pictures, loss, radius=radius, steps=self.attack)
            if self.drawing:
                start = self._starts(pictures)
                views[self.drawn] = fit_pixels(start, loss, steps=self.drawing, rate=self.rate)
        return replace(batch, views=views)

    def encode(self, batch: Batch) -> Embeddings:
        pictures = {view: self.features(self.picture, batch[view]) for view in self.shown}
        return {**pictures, self.text: self.features(self.text, batch[self.text])}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x = {view: self._unit(self.picture, z[view]) for view in self.shown}
        y = self._unit(self.text, z[self.text])
        seen = x[self.attacked if self.attack else self.picture]
        losses = {"clip": (self.objective(seen, y) + self.objective(y, seen)) / 2}
        if self.drawing:
            real, drawn = x[self.picture], x[self.drawn]
            gamma = self.gamma * min(1.0, clock.progress / _RAMP)
            losses["energy"] = gamma * self.energy(y, real, drawn[:, None])
            gaps = ((real - drawn) * y).sum(1).detach()
            self._gap = float(moments.mean(gaps, ranks=Ranks.present()))
        return losses

    def embed_pictures(self, pictures: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d"]:
        """Return unit-norm embeddings of pictures with values in [0, 1], with gradient; for drawing and attacks."""
        return self._unit(self.picture, self.features(self.picture, pictures))

    def embed_texts(self, tokens: Tensor) -> Float[Tensor, "n d"]:
        """Return unit-norm embeddings of token ids."""
        return self._unit(self.text, self.features(self.text, tokens))

    def numbers(self) -> dict[str, float]:
        return {"energy_gap": self._gap} if self.drawing else {}

    def passes(self) -> dict[str, float]:
        made = self.attack + self.drawing
        return {"image": made + len(self.shown), "text": 2.0 if made else 1.0}

    def _unit(self, column: str, features: Float[Tensor, "n w"]) -> Float[Tensor, "n d"]:
        return F.normalize(self.project(column, features, "global"), dim=-1)

    def _starts(self, pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Return where drawing begins: draws from the Gaussian of all ranks' pictures."""
        ranks = Ranks.present()
        counts = ranks.counts(len(pictures), pictures.device)
        every = ranks.gather(pictures, counts)
        # On the processor, where the loop seeds every rank alike.
        weights = torch.randn(len(every), len(every))[ranks.rows(counts)]
        return gaussian_pictures(every, weights)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)
