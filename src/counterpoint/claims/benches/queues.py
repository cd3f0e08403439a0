"""Momentum contrast at the size of a claim: keys from a slow copy of a network, the last ones in a queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...networks import KeyQueue, MomentumCopy, initialise
from . import digits
from .descent import minimise

Draw = Callable[[np.random.Generator], tuple[Tensor, Tensor, Tensor]]
"""A batch: two views of some items, and the items."""
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The loss of queries, their keys and their items."""


@final
class MomentumContrast(nn.Module):
    """A network of queries, its slow copy for the keys, and a queue of the last keys.

    Args:
        network: of the queries.
        width: of its output.
        size: K.
        momentum: m.
        seed: of the random vectors that the queue starts with.
    """

    def __init__(self, network: nn.Module, width: int, *, size: int, momentum: float, seed: int) -> None:
        super().__init__()
        self.network, self.copy = network, MomentumCopy(network, momentum)
        self.queue = KeyQueue(size, width)
        initialise(self.queue, seed, "queue")

    def queries(self, x: Float[Tensor, "B p"]) -> Float[Tensor, "B d"]:
        return F.normalize(self.network(x), dim=-1)

    def keys(self, x: Float[Tensor, "B p"]) -> Float[Tensor, "B d"]:
        return F.normalize(self.copy(x), dim=-1)

    def after_step(self, keys: Float[Tensor, "B d"], ids: Int[Tensor, " B"]) -> None:
        self.copy.update()
        self.queue.enqueue(keys, ids)


def digit_views(batch: int) -> Draw:
    """Return a function that draws two views of each of some training digits."""
    x, _ = digits.digits()

    def draw(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        ids = torch.from_numpy(rng.choice(digits.split()[0], batch, replace=False))
        return digits.view(x[ids], rng), digits.view(x[ids], rng), ids

    return draw


def train(
    model: MomentumContrast,
    loss: Loss,
    draw: Draw,
    *,
    steps: int,
    lr: float,
    seed: int,
    symmetric: bool = False,
) -> None:
    """Train the network of queries by Adam.

    Args:
        model: whose copy and queue follow every step.
        loss: of the queries of one view and the keys of the other.
        draw: gives the batches.
        steps, lr, seed: of the run.
        symmetric: whether each view gives queries and keys in turn; the loss is their mean.
    """
    made: list[tuple[Tensor, Tensor]] = []

    def step(rng: np.random.Generator) -> Tensor:
        first, second, ids = draw(rng)
        both = [(first, second), (second, first)][: 1 + symmetric]
        keys = [model.keys(other) for _, other in both]
        made[:] = [(torch.cat(keys), ids.repeat(len(keys)))]
        losses = [loss(model.queries(one), k, ids) for (one, _), k in zip(both, keys, strict=True)]
        return torch.stack(losses).mean()

    def after() -> None:
        model.after_step(*made[0])

    minimise(step, model.network.parameters(), steps=steps, lr=lr, seed=seed, after=after)
