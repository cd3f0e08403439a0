"""A copy of a network that follows it slowly."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import torch
from torch import nn

from ...forms import Fraction
from ...ranges import Checked

PAPERS = {"crl-framework": ("MomentumCopy",), "moco": ("MomentumCopy",)}

Schedule = Literal["constant", "cosine"]

PREFIX = "momentum."
"""Before the names of what momentum copies embed."""


class MomentumCopy(Checked, nn.Module):
    """A copy of ``module`` whose parameters are an exponential moving average of the module's.

    It starts as an exact copy, and ``update()``, called once after each optimiser step, moves its parameters:
    θ_m ← m θ_m + (1 − m) θ, with m the same all through, or on its way to 1 as the run goes on, at progress t
    1 − (1 − m) (1 + cos πt)/2. Parameters only: batch-norm statistics come from the copy's own forward passes,
    since it follows ``train()`` and ``eval()`` like any other module; a copy that is kept in evaluation mode takes the
    module's (`take_buffers`). It never has gradients, so no optimiser trains it.

    >>> online = nn.Linear(2, 2)
    >>> slow = MomentumCopy(online, m=0.9)
    >>> torch.equal(slow(torch.eye(2)), online(torch.eye(2)))
    True

    Args:
        module: the network to follow. The copy keeps a reference to it, but does not own it.
        m: the momentum, in [0, 1]; at the start.
        schedule: of the momentum.

    Source: BYOL (arXiv 2006.07733); CLIP-rocket's BYOLIP (arXiv 2305.08675) with m = 0.99.
    """

    def __init__(self, module: nn.Module, m: Fraction = 0.99, schedule: Schedule = "constant") -> None:
        super().__init__()
        self.m, self.schedule = m, schedule
        self._followed = (module,)  # in a tuple, so that it is not a submodule: it has its own place
        self.module = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def momentum(self, progress: float) -> float:
        """Return m when a share of the run is over.

        >>> copy = MomentumCopy(nn.Linear(2, 2), m=0.9, schedule="cosine")
        >>> [round(copy.momentum(t), 3) for t in (0, 0.5, 1)]
        [0.9, 0.95, 1.0]
        """
        if self.schedule == "constant":
            return self.m
        return 1 - (1 - self.m) * (1 + math.cos(math.pi * progress)) / 2

    @torch.no_grad()
    def update(self, progress: float = 0.0) -> None:
        """Take one step towards the module followed; ``progress`` is the share of the run that is over."""
        m = self.momentum(progress)
        # Not the buffers: batch norms of the copy have statistics of the copy's own features.
        for slow, fast in zip(self.module.parameters(), self._followed[0].parameters(), strict=True):
            slow.lerp_(fast, 1 - m)

    @torch.no_grad()
    def take_buffers(self) -> None:
        """Have the buffers of the module followed: of a copy in evaluation mode, whose own would never move."""
        for slow, fast in zip(self.module.buffers(), self._followed[0].buffers(), strict=True):
            slow.copy_(fast)

    def restart(self) -> None:
        """Be an exact copy again, buffers included."""
        self.module.load_state_dict(self._followed[0].state_dict())
