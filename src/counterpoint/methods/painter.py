"""A text-to-image model trained from scratch, small enough for a processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count, Fraction
from ..networks import painter
from ..networks.base import Towers
from ..networks.towers.parts.pooling import inside, pool
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .needs import Needs
from .tower_method import TowerMethod, paired

NOISE, TIME = "noise", "time"
"""Names of the views that `Painter.prepare` draws."""


class Painter(TowerMethod):
    """A denoiser of pictures that reads their captions: a Stable Diffusion of a million weights, on pixels.

        L = E ‖v − v_θ(x_t, t, c)‖²,   x_t = √ᾱ_t x + √(1 − ᾱ_t) ε,   v = √ᾱ_t ε − √(1 − ᾱ_t) x

    c are the states of the caption, or, for a share of the examples, of the empty one, which guidance needs. Of the
    towers only the inputs are used: the side of pictures, and the tokenizer. The embedding of a caption is the state of
    its end token; there is none of pictures.

    `draw` draws pictures; `save_pipeline` writes a pipeline that plain diffusers opens.

    Args:
        towers: the towers, by column.
        recipe: unused.
        width: channels at the picture's side, 3 times of which are at half of it and 4 times at a quarter.
        blocks: of the U-Net; all but the first have cross-attention.
        heads: of each attention layer.
        text_width, text_layers: of the text encoder.
        unconditional: the share of examples without their caption.

    Raises:
        MissingPackageError: without diffusers.
        ValueError: for a side that the blocks cannot halve.

    Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022), arXiv 2112.10752,
    without the autoencoder; velocities after Salimans and Ho (2022), arXiv 2202.00512.
    """

    family = "images"
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        width: Count = 16,
        blocks: Count = 3,
        heads: Count = 2,
        text_width: Count = 64,
        text_layers: Count = 2,
        unconditional: Fraction = 0.1,
    ) -> None:
        super().__init__(towers)
        if recipe.towers.keep:
            raise ValueError("towers.keep: painter draws the pictures themselves; leave keep out")
        self.picture, self.text = towers
        self.views = paired(towers)
        self.painter = painter.PaintingNetwork(
            self.text_tower.tokenizer,
            self.image_tower.size,
            width=width,
            blocks=blocks,
            heads=heads,
            text_width=text_width,
            text_layers=text_layers,
        )
        self.unconditional = unconditional
        self.use_input_alone(self.picture, self.text)

    @property
    def embeds(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def width(self) -> int:
        return self.painter.width

    @property
    def picture_size(self) -> int:
        return self.painter.size

    @property
    def context(self) -> int:
        return self.painter.tokenizer.context

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        if column == self.picture:
            raise ValueError(f"this model draws {column}s and has no {column} embeddings")
        return super().embed(column, inputs, head)

    def features(self, column: str, inputs: Tensor) -> Float[Tensor, "B w"]:
        """Return the states of end tokens."""
        return self._ends(self.painter.states(inputs), inputs)

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Return the batch with a level of noise and the noise of each picture; some captions become empty."""
        ranks, pictures, tokens = Ranks.present(), batch[self.picture], batch[self.text]
        counts = ranks.counts(len(batch), pictures.device)
        here, total = ranks.rows(counts), sum(counts)
        # Drawn for all ranks on the processor, where the loop seeds every rank alike.
        times = torch.randint(painter.STEPS, (total,))[here].to(pictures.device)
        bare = (torch.rand(total) < self.unconditional)[here].to(pictures.device)
        noise = torch.randn(total, *pictures.shape[1:])[here].to(pictures)
        padded = self.painter.padded(tokens)
        empty = self.painter.padded(self.painter.tokenizer([""]).to(tokens))
        said = torch.where(bare[:, None], empty, padded)
        return replace(batch, views={**batch.views, self.text: said, TIME: times, NOISE: noise})

    def encode(self, batch: Batch) -> Embeddings:
        noisy, velocity = self.painter.noised(batch[self.picture], batch[NOISE], batch[TIME])
        states = self.painter.states(batch[self.text])
        gaps = upcast(self.painter(noisy, batch[TIME], states)) - upcast(velocity)
        return {
            self.picture: gaps.square().flatten(1).mean(1),
            self.text: self._ends(states, batch[self.text]),
        }

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return {"noise": moments.mean(z[self.picture], ranks=Ranks.present())}

    def _ends(self, states: Float[Tensor, "B context w"], tokens: Int[Tensor, "B L"]) -> Float[Tensor, "B w"]:
        return pool(states, inside(self.painter.padded(tokens), self.painter.tokenizer.end), "end")

    def draw(
        self,
        texts: Sequence[str],
        *,
        seeds: Sequence[int] | None = None,
        steps: Count = 12,
        guidance: float = 3.0,
    ) -> Float[Tensor, "n 3 H W"]:
        """Draw a picture of each text; see `counterpoint.networks.painter.PaintingNetwork.draw`."""
        return self.painter.draw(texts, seeds=seeds, steps=steps, guidance=guidance)

    def save_pipeline(self, folder: Path) -> None:
        """Write it as a pipeline, which plain diffusers opens."""
        self.painter.save(folder)
