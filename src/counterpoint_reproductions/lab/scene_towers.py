"""Small towers for composed scenes: where things are and which word belongs to which matters, so neither is a bag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from counterpoint.losses import InfoNCELoss
from counterpoint.networks import BytePairTokenizer
from counterpoint.networks.heads import Linear
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.transformer import TextTransformer
from counterpoint.registry import unknown

from .descent import minimise

SIDE = 32
"""Pixels of a side of the pictures."""


@final
class SceneTowers(nn.Module):
    """An embedder of small pictures and short captions.

    Three convolutions, then a linear map of every place; one transformer block over words.

    Args:
        captions: that the vocabulary is made of.
        seed: of the initial weights.
        width: of the embedding.
    """

    def __init__(self, captions: Sequence[str], seed: int, width: int = 64) -> None:
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(3, 32, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(64, 64, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(64 * (SIDE // 8) ** 2, width),
        )
        self.words = TextTransformer(BytePairTokenizer.train(sorted(set(captions)), 512, 32), 64, depth=1)
        self.text = Linear(64, width)
        initialise(self, seed)

    def pictures(self, x: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n d"]:
        return F.normalize(self.image(_small(x)), dim=-1)

    @torch.no_grad()
    def patches(self, x: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n 16 64"]:
        """Return what the image tower sees at each place, before its last layer."""
        grids = [self.image[:-2](_small(part)) for part in torch.split(x, 512)]
        return torch.cat(grids).flatten(2).transpose(1, 2)

    def captions(self, tokens: Int[Tensor, "n L"]) -> Float[Tensor, "n d"]:
        return F.normalize(self.text(self.words(tokens)), dim=-1)

    @torch.no_grad()
    def embed(self, modality: str, inputs: Any) -> Tensor:
        if modality == "image":
            return torch.cat([self.pictures(part) for part in torch.split(inputs, 512)])
        if modality == "text":
            tokens = self.words.tokenizer(list(inputs))
            return torch.cat([self.captions(part) for part in torch.split(tokens, 512)])
        raise unknown("modality", modality, ("image", "text"))


def _small(x: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n 3 S S"]:
    small = x.float() / 127.5 - 1
    return small if small.shape[-1] == SIDE else F.interpolate(small, size=SIDE, mode="area")


Loss = Callable[[SceneTowers, InfoNCELoss, Int[np.ndarray, " B"]], Tensor]
"""The loss of the towers and an InfoNCE with its temperature, on some examples."""


def train(
    towers: SceneTowers, loss: Loss, *, examples: int, batch: int, steps: int, lr: float, seed: int
) -> None:
    """Train towers by Adam on random batches of different examples."""
    infonce = InfoNCELoss()

    def step(rng: np.random.Generator) -> Tensor:
        return loss(towers.train(), infonce, rng.choice(examples, min(batch, examples), replace=False))

    minimise(step, [*towers.parameters(), *infonce.parameters()], steps=steps, lr=lr, seed=seed)
    towers.eval()
