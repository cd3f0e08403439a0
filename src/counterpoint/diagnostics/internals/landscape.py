"""The loss around the weights of a network, along two random directions.

Source: Park and Kim, "How Do Vision Transformers Work?" (2022), arXiv 2202.06709, whose directions are normalised as
in Li et al., "Visualizing the Loss Landscape of Neural Nets" (2018), arXiv 1712.09913.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

PAPERS = {"how-vits-work": ("landscape",)}

_TINY = 1e-7
_STILL = ("position", "pos_embed")


@dataclass(frozen=True)
class Landscape:
    """The loss on a square around the weights.

    Attributes:
        at: the steps along either direction, from −reach to reach; 1 is as long as the weights themselves.
        loss: ``[i, j]``, the loss at ``w + at[i] a + at[j] b``; not finite where it has overflowed.
    """

    at: Float[np.ndarray, " points"]
    loss: Float[np.ndarray, "points points"]

    @property
    def here(self) -> float:
        """The loss at the weights."""
        middle = len(self.at) // 2
        return float(self.loss[middle, middle])

    def rise(self, distance: float) -> float:
        """Compute how much higher the loss is at a distance from the weights, averaged around them; small is flat.

        Over the points of the grid within half a step of it; NaN if there are none.
        """
        away = np.hypot(self.at[:, None], self.at[None, :])
        ring = np.abs(away - distance) <= (self.at[1] - self.at[0]) / 2 + 1e-9
        return float(self.loss[ring].mean()) - self.here if ring.any() else float("nan")

    def lower(self) -> float:
        """Return the share of the grid where the loss is lower than at the weights: 0 at the bottom of a bowl."""
        return float((self.loss < self.here).mean())


def landscape(
    loss: Callable[[], Tensor],
    weights: Mapping[str, Tensor],
    *,
    points: int = 21,
    reach: float = 1.0,
    seed: int = 0,
) -> Landscape:
    """Compute the loss at ``w + x a + y b`` for x and y on a grid.

    Directions are normal, then scaled weight by weight to ``a · ‖w‖ / (‖a‖ + 1e−7)``, norms over the first axis of
    each tensor, so that networks whose weights are scaled differently compare. Tensors of fewer than two axes (norms,
    biases, temperatures) and position embeddings stay where they are. Weights are as before when this returns.

    Args:
        loss: of one fixed batch. Training losses with their regularisation and augmented data: on clean data without
            the penalty sharpness misleads.
        weights: by name, as from ``named_parameters``; changed in place meanwhile.
        points: along each direction, odd, so that the weights themselves are among them.
        reach: the largest step.
        seed: of the directions.

    Raises:
        ValueError: if ``points`` is even or below 3, or no weight can be moved.

    >>> w = torch.eye(2)
    >>> found = landscape(lambda: w.square().sum(), {"w": w}, points=3)
    >>> found.at.tolist(), found.here
    ([-1.0, 0.0, 1.0], 2.0)
    """
    moved = [w for name, w in weights.items() if w.ndim > 1 and not any(part in name for part in _STILL)]
    if points < 3 or points % 2 == 0 or not moved:
        raise ValueError(
            f"landscape needs an odd number of points, 3 at least, and weights of two axes or more; got points="
            f"{points} and {len(moved)} such weights"
        )
    generator = torch.Generator().manual_seed(seed)
    first, second = (directions(moved, generator) for _ in range(2))
    start = [w.detach().clone() for w in moved]
    at = np.linspace(-reach, reach, points)
    losses = np.empty((points, points))
    with torch.no_grad():
        try:
            for (i, x), (j, y) in ((a, b) for a in enumerate(at) for b in enumerate(at)):
                for w, middle, a, b in zip(moved, start, first, second, strict=True):
                    w.copy_(middle + x * a + y * b)
                losses[i, j] = float(loss())
        finally:
            for w, middle in zip(moved, start, strict=True):
                w.copy_(middle)
    return Landscape(at, losses)


def directions(weights: Iterable[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Return a random direction for each weight, as long as the weight along its first axis, place by place."""
    directions = []
    for w in weights:
        random = torch.randn(w.shape, generator=generator, dtype=torch.float64).to(w)
        directions.append(
            random * w.detach().norm(dim=0, keepdim=True) / (random.norm(dim=0, keepdim=True) + _TINY)
        )
    return directions
