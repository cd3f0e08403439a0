"""Gradient descent on whatever a claim minimises: the one training loop of the small experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from counterpoint.networks.init import seeded


def minimise(
    loss: Callable[[np.random.Generator], Tensor],
    parameters: Iterable[Tensor],
    *,
    steps: int,
    lr: float,
    seed: int,
    sgd: bool = False,
    after: Callable[[], None] = lambda: None,
) -> list[float]:
    """Train parameters on a loss that draws its own batches.

    Args:
        loss: from a random stream to the loss of one batch. Torch's own generator, of dropout and shuffles,
            starts from the seed as well.
        parameters: of everything that may be trained; what needs no gradient is left alone.
        steps, lr, seed: of the run.
        sgd: descend by SGD with momentum 0.9 instead of Adam.
        after: called after every step: temperatures, queues and slow copies move there.

    Returns:
        The loss of every step.
    """
    moving = [p for p in dict.fromkeys(parameters) if p.requires_grad]
    optimizer: torch.optim.Optimizer
    optimizer = torch.optim.SGD(moving, lr, momentum=0.9) if sgd else torch.optim.Adam(moving, lr)
    rng, losses = np.random.default_rng(seed), []
    with seeded(seed, "descent"):
        for _ in range(steps):
            value = loss(rng)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(value)
            optimizer.step()
            after()
            losses.append(float(value.detach()))
    return losses
