"""A vision transformer small enough for a claim of minutes: small emoji in 8 × 8 patches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.networks.base import ImageTower
from counterpoint.networks.heads import Linear
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.transformer import VisionTransformer

from .data_emoji import SIDE
from .data_emoji_views import changed, emoji
from .descent import minimise

LABEL, LEAST = "group", 20
DEPTH, LR = 4, 2e-3


def transformer(seed: int) -> VisionTransformer:
    """Build a pre-norm transformer of four heads on pictures of 16 pixels, at the start of a seed."""
    tower = VisionTransformer(SIDE, patch=2, width=32, depth=DEPTH, heads=4)
    initialise(tower, seed, "image")
    return tower


def squared(x: Float[Tensor, "n p"]) -> Float[Tensor, "n 3 H W"]:
    """Turn pixels in [−1, 1] into pictures in [0, 1], as towers take them."""
    return (x.reshape(len(x), 3, SIDE, SIDE) + 1) / 2


def train_on_labels(tower: ImageTower, *, steps: int, batch: int, seed: int) -> Linear:
    """Train a tower and a linear classifier on the groups of emoji under random changes; the classifier."""
    data = emoji(LABEL, LEAST)
    head = Linear(tower.width, int(data.classes.max()) + 1, bias=True)
    initialise(head, seed, "classifier")
    x, classes = data.of(data.train)

    def loss(rng: np.random.Generator) -> Tensor:
        rows = rng.choice(len(x), batch, replace=False)
        seen = squared(changed(x[torch.from_numpy(rows)], rng))
        return F.cross_entropy(head(tower(seen)), torch.from_numpy(classes[rows]))

    minimise(loss, [*tower.parameters(), *head.parameters()], steps=steps, lr=LR, seed=seed)
    return head


def held_out(most: int | None = None) -> tuple[Float[Tensor, "n 3 H W"], Int[np.ndarray, " n"]]:
    """Return pictures by both artists of concepts that training has nothing of, evenly spaced, and their groups."""
    data = emoji(LABEL, LEAST)
    x, classes = data.of(data.test)
    step = 1 if most is None else max(len(x) // most, 1)
    return squared(x[::step]), classes[::step]


def in_parts(
    function: Callable[[Tensor], Tensor], pictures: Float[Tensor, "n 3 H W"], size: int = 128
) -> Tensor:
    """Apply a function to pictures, a part of them at a time."""
    with torch.no_grad():
        return torch.cat([function(part) for part in torch.split(pictures, size)])
