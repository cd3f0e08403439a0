"""Small towers for composed scenes: where things are and which word belongs to which matters, so neither is a bag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from ...data.base import Rows
from ...data.items import MinimalPairs
from ...data.worlds.scenes.items.forms import items_of
from ...data.worlds.scenes.world import Scenes
from ...losses import InfoNCELoss
from ...networks import BytePairTokenizer
from ...networks.heads import Linear
from ...networks.init import initialise
from ...networks.towers.transformer import TextTransformer
from ...registry import unknown
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

    heads: tuple[str, ...] = ("global",)

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
    def places(self, x: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n 16 64"]:
        """Return what the image tower sees at each place, before its last layer."""
        grids = [self.image[:-2](_small(part)) for part in torch.split(x, 512)]
        return torch.cat(grids).flatten(2).transpose(1, 2)

    def captions(self, tokens: Int[Tensor, "n L"]) -> Float[Tensor, "n d"]:
        return F.normalize(self.text(self.words(tokens)), dim=-1)

    @torch.no_grad()
    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        if modality == "image":
            return torch.cat([self.pictures(part) for part in torch.split(inputs, 512)])
        if modality == "text":
            tokens = self.words.tokenizer(list(inputs))
            return torch.cat([self.captions(part) for part in torch.split(tokens, 512)])
        raise unknown("modality", modality, ("image", "text"))

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def _small(x: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n 3 S S"]:
    small = x.float() / 127.5 - 1
    return small if small.shape[-1] == SIDE else F.interpolate(small, size=SIDE, mode="area")


class Edited(NamedTuple):
    """Scenes beside edits of them, small.

    Attributes:
        pictures: of both.
        captions: of both.
        kinds: of the edits.
        rows: of the scenes.
    """

    pictures: UInt8[Tensor, "n 2 3 S S"]
    captions: list[tuple[str, str]]
    kinds: list[str]
    rows: Rows

    def __len__(self) -> int:
        return len(self.kinds)


@lru_cache(maxsize=16)
def edited(source: str, split: str, count: int, kinds: tuple[str, ...]) -> Edited:
    """Draw squares of some kinds of a world, from the first rows of its training or test scenes.

    Args:
        source: the world, as a user writes it; its pictures are drawn at `SIDE` pixels.
        split: ``"train"`` or ``"test"``.
        count: rows; some may have no square.
        kinds: of edits.
    """
    world = Scenes.parse(f"{source},pixels={SIDE}")
    rows = world.splits.train if split == "train" else world.splits.test["as trained"]
    squares = items_of(world, MinimalPairs, rows[:count], kinds)
    pictures = torch.cat([squares.pictures(part) for part in np.array_split(np.arange(len(squares)), 16)])
    row = {identity: place for place, identity in enumerate(world.ids.tolist())}
    kept = np.array([row[identity] for identity in squares.ids.tolist()])
    return Edited(pictures, list(squares.captions), list(squares.kinds), kept)


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


def with_negatives(
    infonce: InfoNCELoss,
    x: Float[Tensor, "B d"],
    y: Float[Tensor, "B d"],
    negatives: Float[Tensor, "B d"],
    there: Bool[Tensor, " B"],
) -> Float[Tensor, ""]:
    """Return InfoNCE in which each picture also looks among captions that belong to no picture.

    A caption looks among the pictures only: a row for a negative would have no picture to find.

    Args:
        infonce: whose temperature is used.
        x, y: pictures and their captions.
        negatives: a false caption for each picture, which all pictures look among.
        there: which of them exist.
    """
    logits = infonce.temperature.scale(x) @ torch.cat([y, negatives]).T
    absent = torch.cat([torch.zeros_like(there), ~there])
    target = torch.arange(len(x))
    of_pictures = F.cross_entropy(logits.masked_fill(absent, -torch.inf), target)
    return (of_pictures + F.cross_entropy(logits[:, : len(y)].T, target)) / 2


@torch.no_grad()
def square_similarities(towers: SceneTowers, squares: Edited) -> Float[Tensor, "n 2 2"]:
    """Return ``[k, i, c]``: picture i of square k with its caption c."""
    x = towers.embed("image", squares.pictures.flatten(0, 1))
    y = towers.embed("text", [caption for both in squares.captions for caption in both])
    n, d = len(squares), x.shape[1]
    return x.view(n, 2, d) @ y.view(n, 2, d).mT
