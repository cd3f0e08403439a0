"""Gradient descent on whatever a claim minimises."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from ..networks.start import seeded


def minimise(
    loss: Callable[[np.random.Generator], Tensor],
    parameters: Iterable[Tensor],
    *,
    steps: int,
    lr: float,
    seed: int,
) -> list[float]:
    """Train parameters with Adam on a loss that draws its own batches.

    Args:
        loss: from a random stream to the loss of one batch. Torch's own generator, of dropout and shuffles,
            starts from the seed as well.
        parameters: of everything that is trained.
        steps, lr, seed: of the run.

    Returns:
        The loss of every step.
    """
    optimizer = torch.optim.Adam(list(parameters), lr)
    rng, losses = np.random.default_rng(seed), []
    with seeded(seed, "descent"):
        for _ in range(steps):
            value = loss(rng)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(value)
            optimizer.step()
            losses.append(float(value.detach()))
    return losses
