"""Methods with two towers on vectors, latents or bags of words, instead of pictures and captions."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...methods.tower_method import TowerMethod
from ...networks import ImageTower, TextTower
from ...types import Batch, Clock, Embeddings
from .descent import minimise

Draw = Callable[[np.random.Generator], Batch]


@final
class FirstTower(ImageTower):
    """A network of vectors in the place of an image tower.

    Args:
        network: from vectors to features; the vectors are the features where it is the identity.
        width: of the features.
    """

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        self.network, self.width = network, width

    def forward(self, images: Float[Tensor, "B p"]) -> Float[Tensor, "B width"]:
        return self.network(images)


@final
class SecondTower(TextTower):
    """A network of vectors in the place of a text tower."""

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        self.network, self.width = network, width

    def forward(self, tokens: Float[Tensor, "B q"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        return self.network(tokens)


def train(method: TowerMethod, draw: Draw, *, steps: int, lr: float, seed: int) -> None:
    """Train a method with Adam.

    Args:
        method: whose parameters move. It is left in evaluation mode.
        draw: a batch, from a random stream.
        steps, lr, seed: of the run; the seed also starts torch's own generator, which dropout and mixing draw from.
    """
    clocks = (Clock(step, steps) for step in range(steps))
    seen: list[tuple[Embeddings, Batch, Clock]] = []

    def step(rng: np.random.Generator) -> Tensor:
        batch, clock = draw(rng), next(clocks)
        z = method.encode(batch)
        seen[:] = [({name: features.detach() for name, features in z.items()}, batch, clock)]
        return torch.stack(list(method.losses(z, batch, clock).values())).sum()

    method.train()
    minimise(
        step, method.parameters(), steps=steps, lr=lr, seed=seed, after=lambda: method.after_step(*seen[0])
    )
    method.eval()
