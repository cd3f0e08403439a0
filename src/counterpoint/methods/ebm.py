"""EBM: pictures alone, by an energy that is low for them and high for what the model itself makes up."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..forms import Count, Fraction, Natural, NonNegative
from ..losses.contrastive_divergence import ContrastiveDivergenceLoss
from ..networks.base import Towers
from ..networks.energy import ReplayBuffer, langevin
from ..networks.heads import Linear
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod, paired

PAPERS = {"ebm-vs-cl-vqa": ("diverged",)}

SAMPLED, PLACES = "sampled.image", "places.image"


class EBM(TowerMethod):
    """An energy-based model of pictures: ``E(x) = w · f(x) + b``, trained by maximum likelihood.

        x⁻ by K steps of Langevin dynamics on E, from a replay buffer,   L = ContrastiveDivergence(E(x⁺), E(x⁻))

    x⁺ is the picture in [−1, 1] with a little noise. One step costs K + 2 passes of the image tower, which `passes`
    counts; x⁻ carries no gradient. Divergence shows as energies far from 0: `diverged`. The head is left off
    afterwards: a user gets the tower's own features. A tower with batch statistics breaks
    the sampling; those of this package have none.

    Args:
        towers: the towers, by column.
        recipe: of the run; its towers cannot answer from memory.
        steps: K, of the sampler.
        step_size, sampling_noise: a and s of the sampler.
        noise: standard deviation of the noise on x⁺.
        buffer: chains of the replay buffer. The usual 10,000 are for long runs: each is saved with the model.
        restart: probability that a chain begins anew.
        weight: c, of the squared energies.

    Raises:
        ValueError: for ``towers.keep``.

    Source: Shevchenko et al., "EBMs vs. CL: Exploring Self-Supervised Visual Pretraining for Visual Question Answering"
    (2022), arXiv 2206.14355; its constants could not be checked, and those of JEM (arXiv 1912.03263) and of Du and
    Mordatch (arXiv 1903.08689) are the defaults.
    """

    family = "one modality"
    papers = ("ebm-vs-cl-vqa",)
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("image",))
    tunable: ClassVar[Ranges] = {"weight": (0.05, 1.0)}
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        steps: Natural = 20,
        step_size: NonNegative = 1.0,
        sampling_noise: NonNegative = 0.01,
        noise: NonNegative = 0.03,
        buffer: Count = 1000,
        restart: Fraction = 0.05,
        weight: NonNegative = 0.1,
    ) -> None:
        super().__init__(towers)
        if recipe.towers.keep:
            raise ValueError("towers.keep: ebm changes the pictures themselves; leave keep out")
        self.views = paired(towers)
        (self.column,) = towers
        self.projection = Linear(self.image_tower.width, 1, bias=True)
        self.buffer = ReplayBuffer(buffer, self.image_tower.size, restart)
        self.objective = ContrastiveDivergenceLoss(weight)
        self.steps, self.step_size = steps, step_size
        self.sampling_noise, self.noise = sampling_noise, noise

    def targets(self, batch: Batch) -> Embeddings:
        """Draw samples of the model as it is, once a step; they go back to the buffer after the step."""
        places, start = self.buffer.draw(len(batch))
        sampled = langevin(
            self._energy,
            start.to(batch[self.column].dtype),
            steps=self.steps,
            step_size=self.step_size,
            noise=self.sampling_noise,
        )
        return {SAMPLED: sampled, PLACES: places}

    def encode(self, batch: Batch) -> Embeddings:
        # To [−1, 1], where the sampler walks; `_features` takes it back.
        x = 2 * batch[self.column] - 1
        return {self.column: self._features(x + self.noise * torch.randn_like(x) if self.noise else x)}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        positive = self.projection(z[self.column])[:, 0]
        return {"ebm": self.objective(positive, self._energy(z[SAMPLED]))}

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        # Here and not where they are drawn: state moves once per step, and not with a step that is left out. The chains
        # of all ranks, so that a checkpoint, which one rank writes, holds them.
        ranks = Ranks.present()
        counts = ranks.counts(len(batch), z[PLACES].device)
        self.buffer.put(ranks.gather(z[PLACES], counts), ranks.gather(z[SAMPLED], counts))
        super().after_step(z, batch, clock)

    def passes(self) -> dict[str, float]:
        return {"image": self.steps + 2}

    @torch.no_grad()
    def energy(self, pictures: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, " n"]:
        """Compute the energy E of pictures as a user has them; a low energy is familiar."""
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            return self._energy(2 * self.image_tower.input(pictures.to(device)) - 1)
        finally:
            self.train(was_training)

    def _features(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n w"]:
        return self.image_tower((x + 1) / 2)

    def _energy(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, " n"]:
        return self.projection(self._features(x))[:, 0]


def diverged(energies: Float[Tensor, " n"], bound: float = 1e3) -> bool:
    """Return whether an energy-based model has broken down: an energy that is not finite, or beyond ±1,000.

    >>> diverged(torch.tensor([0.5, -2.0])), diverged(torch.tensor([0.5, 2e3])), diverged(torch.tensor([torch.nan]))
    (False, True, True)
    """
    return not bool((energies.abs() <= bound).all())
