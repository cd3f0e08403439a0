"""Weights between those that a run continued from and those that it came to (WiSE-FT)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_TRACKED = ("towers.", "projections.")
"""How the names of buffers begin that go with the weights: statistics of batch norms."""
_LOW_RANK = ".lora_A."
"""What stands in the name of the first factor of a low-rank update."""


class Between:
    """``θ ← (1 − α) θ₀ + α θ``: θ₀ are the weights when this was made, and θ those when `apply` is called.

    Statistics of batch norms follow their weights. Of a low-rank update B A the second factor B alone is blended, which
    starts at 0: the weights W + B A then lie between W and what was trained.

    Args:
        module: whose weights they are.
        share: α.

    Source: Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models" (2022), arXiv 2109.01903.

    >>> layer = nn.Linear(1, 1)
    >>> _ = nn.init.zeros_(layer.weight)
    >>> half = Between(layer, 0.5)
    >>> _ = nn.init.ones_(layer.weight)
    >>> half.apply(); layer.weight.item()
    0.5
    """

    def __init__(self, module: nn.Module, share: float) -> None:
        self._share = share
        # Chosen once, as stages change which parameters take gradients.
        weights: list[Tensor] = [
            parameter
            for name, parameter in module.named_parameters()
            if parameter.requires_grad and _LOW_RANK not in name
        ]
        weights += [
            buffer
            for name, buffer in module.named_buffers()
            if name.startswith(_TRACKED) and buffer.is_floating_point()
        ]
        self._pairs: list[tuple[Tensor, Tensor]] = [(w.detach(), w.detach().clone()) for w in weights]

    @torch.no_grad()
    def apply(self) -> None:
        """Blend the weights, in place."""
        for weight, start in self._pairs:
            weight.copy_(torch.lerp(start, weight, self._share))
