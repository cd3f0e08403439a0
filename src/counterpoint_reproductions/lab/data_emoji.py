"""A two-tower model small enough for a claim of minutes: two-layer networks on pixels and on bags of words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from counterpoint.data.pictured import PairedData
from counterpoint.data.source import load
from counterpoint.networks.heads import mlp
from counterpoint.networks.init import initialise
from counterpoint.pairwise.loss import Loss
from counterpoint.registry import unknown

from .descent import minimise

SIDE = 16
"""Pictures are shrunk to this many pixels a side."""
BUCKETS = 2048
"""Words and their three-letter parts are hashed into this many columns."""


def pixels(pictures: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n p"]:
    """Turn pictures into vectors: shrunk to ``SIDE`` pixels, in [−1, 1]."""
    return F.interpolate(pictures.float() / 127.5 - 1, size=SIDE, mode="area").flatten(1)


def words(captions: Sequence[str]) -> Float[Tensor, "n w"]:
    """Turn captions into bags of words and of three-letter parts of words, hashed, of unit norm."""
    return torch.stack([_bag(caption) for caption in captions])


@lru_cache(maxsize=2**15)
def _bag(caption: str) -> Float[Tensor, " w"]:
    bag = torch.zeros(BUCKETS)
    for word in caption.lower().replace(":", " ").split():
        padded = f"<{word}>"
        for part in (padded, *(padded[i : i + 3] for i in range(len(padded) - 2))):
            bag[hash_of(part)] += 1
    return F.normalize(bag, dim=0)


def hash_of(text: str) -> int:
    """Return a column for a text, the same in every process (Python's own hash is not)."""
    value = 2166136261
    for byte in text.encode():
        value = (value ^ byte) * 16777619 % 2**32
    return value % BUCKETS


@final
class SmallTwoTower(nn.Module):
    """An embedder of pictures and captions, each by a network with one hidden layer.

    Args:
        seed: of the initial weights.
        width: of the embedding.
        hidden: of the hidden layers.
    """

    heads: tuple[str, ...] = ("global",)

    def __init__(self, seed: int, width: int = 64, hidden: int = 256) -> None:
        super().__init__()
        self.image = mlp(3 * SIDE * SIDE, hidden, width, layers=2, norm=False)
        self.text = mlp(BUCKETS, hidden, width, layers=2, norm=False)
        initialise(self, seed)

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        if modality == "image":
            return F.normalize(self.image(pixels(inputs)), dim=-1)
        if modality == "text":
            return F.normalize(self.text(words(inputs)), dim=-1)
        raise unknown("modality", modality, ("image", "text"))

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


Draw = Callable[[np.random.Generator], tuple[Tensor, Tensor]]
"""A batch: the inputs of the first and of the second encoder, row by row of the same examples."""


def train(
    encoders: tuple[nn.Module, nn.Module], loss: Loss, draw: Draw, *, steps: int, lr: float, seed: int
) -> list[float]:
    """Train two encoders (or one, given twice) with a loss on their unit-norm outputs, by Adam.

    Returns:
        The loss of every step.
    """

    def step(rng: np.random.Generator) -> Tensor:
        x, y = draw(rng)
        return loss(F.normalize(encoders[0](x), dim=-1), F.normalize(encoders[1](y), dim=-1))

    parameters = [p for part in (*encoders, loss) for p in part.parameters()]
    return minimise(step, parameters, steps=steps, lr=lr, seed=seed, after=loss.commit)


def jitter(
    pictures: Float[Tensor, "n c H W"], rng: np.random.Generator, reach: int
) -> Float[Tensor, "n c H W"]:
    """Shift pictures on a ground of 0 by up to ``reach`` pixels a side, with noise and a fifth of the pixels 0."""
    n, _, height, width = pictures.shape
    wide = F.pad(pictures, (reach,) * 4)
    down, right = torch.from_numpy(rng.integers(0, 2 * reach + 1, (2, n)))
    rows = (down[:, None] + torch.arange(height))[:, None, :, None]
    columns = (right[:, None] + torch.arange(width))[:, None, None, :]
    moved = wide[
        torch.arange(n)[:, None, None, None], torch.arange(wide.shape[1])[:, None, None], rows, columns
    ]
    noise = torch.from_numpy(rng.standard_normal(moved.shape)).float()
    kept = torch.from_numpy(rng.random((n, 1, height, width)) > 0.2)
    return (moved + 0.1 * noise) * kept


def view(x: Float[Tensor, "n p"], rng: np.random.Generator) -> Float[Tensor, "n p"]:
    """Shift pixels, as `pixels` gives them, by up to two a side, with noise and a fifth of them white."""
    ink = (1 - x).reshape(len(x), 3, SIDE, SIDE)  # white is 1
    return 1 - jitter(ink, rng, reach=2).flatten(1)


@lru_cache(maxsize=2)
def emoji_inputs() -> tuple[PairedData, Float[Tensor, "N p"], Float[Tensor, "N w"]]:
    """Load the emoji, and what the small towers see of every row: pixels and words of its name."""
    data = load("emoji")
    rows = np.arange(len(data))
    pictures = torch.cat([pixels(data.images(part)) for part in np.array_split(rows, 8)])
    return data, pictures, words([data.evaluation_captions(int(row))[0] for row in rows])


def pairs_of(first: Float[Tensor, "N p"], second: Float[Tensor, "N q"], rows: np.ndarray, batch: int) -> Draw:
    """Return a function that draws batches of different rows at random."""

    def draw(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.from_numpy(rng.choice(rows, min(batch, len(rows)), replace=False))
        return first[chosen], second[chosen]

    return draw
