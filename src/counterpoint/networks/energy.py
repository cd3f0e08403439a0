"""Energy-based models: samples by Langevin dynamics, and the buffer that their chains go on from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count, Fraction
from ..ranges import Checked

PAPERS = {"ebm-vs-cl-vqa": ("ReplayBuffer", "langevin")}

Energy = Callable[[Tensor], Tensor]
"""From pictures ``(n, 3, H, W)`` in [−1, 1] to their energies ``(n,)``."""


def langevin(
    energy: Energy,
    start: Float[Tensor, "n 3 H W"],
    *,
    steps: int = 20,
    step_size: float = 1.0,
    noise: float = 0.01,
) -> Float[Tensor, "n 3 H W"]:
    """Walk downhill in energy, with noise: ``x ← clip(x − a ∂E/∂x + s N(0, I), −1, 1)``.

    Only x has gradients here, and the result has none. With the step and the noise of practice this is no exact
    sampler: the noise is far smaller than the step would ask for.

    Args:
        energy: E.
        start: the first x.
        steps: of the walk.
        step_size: a.
        noise: s.

    Source: Grathwohl et al., "Your Classifier is Secretly an Energy Based Model" (2019), arXiv 1912.03263.

    >>> x = langevin(lambda x: (x - 0.5).square().sum((1, 2, 3)), torch.zeros(1, 3, 2, 2), step_size=0.1, noise=0.0)
    >>> bool(((x - 0.5).abs() < 0.01).all())
    True
    """
    x = start.detach()
    with torch.enable_grad():
        for _ in range(steps):
            x.requires_grad_()
            (slope,) = torch.autograd.grad(energy(x).sum(), x)
            x = (x.detach() - step_size * slope + noise * torch.randn_like(x)).clamp(-1, 1)
    return x.detach()


class ReplayBuffer(Checked, nn.Module):
    """States of the chains of earlier steps, in [−1, 1]; they start as uniform noise and are saved with the model.

    Kept in half precision.

    Args:
        capacity: chains.
        size: of the pictures, in pixels a side.
        restart: probability that a chain begins anew from noise when it is drawn.

    Raises:
        ValueError: for a capacity below 1 or a probability outside [0, 1].

    Source: Du and Mordatch (2019), arXiv 1903.08689, as in JEM.
    """

    samples: Tensor

    def __init__(self, capacity: Count, size: Count, restart: Fraction = 0.05) -> None:
        super().__init__()
        self.restart = restart
        self.register_buffer("samples", torch.empty(capacity, 3, size, size, dtype=torch.float16))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.samples.copy_(2 * torch.rand(self.samples.shape) - 1)

    def draw(self, count: int) -> tuple[Int[Tensor, " n"], Float[Tensor, "n 3 H W"]]:
        """Draw some chains: return their places, and where the chains stand."""
        device = self.samples.device
        places = torch.randint(len(self.samples), (count,), device=device)
        stand = self.samples[places].float()
        fresh = torch.rand(count, device=device) < self.restart
        return places, torch.where(fresh[:, None, None, None], 2 * torch.rand_like(stand) - 1, stand)

    def put(self, indices: Int[Tensor, " n"], samples: Float[Tensor, "n 3 H W"]) -> None:
        """Store where the chains at these places stand now."""
        self.samples[indices] = samples.to(self.samples.dtype)
