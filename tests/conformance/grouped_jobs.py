"""The job by which a rank finds out with whom it exchanges embeddings under `GroupedInfoNCELoss`."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from counterpoint.losses import GroupedInfoNCELoss
from counterpoint.pairwise.ranks import Ranks

EXAMPLES, WIDTH = 12, 5


def job_grouped(rank: int, size: int, groups: int) -> tuple[Tensor, list[Tensor], list[int]]:
    """The loss, the gradients of this rank's rows, and with how many ranks each large tensor was exchanged."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.nn.functional.normalize(
        torch.randn(2, EXAMPLES, WIDTH, generator=g, dtype=torch.float64), dim=-1
    ).unbind()
    own = slice(EXAMPLES * rank // size, EXAMPLES * (rank + 1) // size)
    leaves = [z[own].clone().requires_grad_() for z in (x, y)]
    met: list[int] = []
    stack, total = Ranks.stack, Ranks.total

    def seen(function):  # type: ignore[no-untyped-def]
        def call(self, tensor):  # type: ignore[no-untyped-def]
            if tensor.numel() >= WIDTH:
                met.append(self.size)
            return function(self, tensor)

        return call

    Ranks.stack, Ranks.total = seen(stack), seen(total)  # type: ignore[method-assign]
    try:
        loss = GroupedInfoNCELoss(groups, temperature=0.2)(*leaves)
        loss.backward()
    finally:
        Ranks.stack, Ranks.total = stack, total  # type: ignore[method-assign]
    scale = dist.get_world_size() if dist.is_initialized() else 1
    return loss.detach(), [z.grad / scale for z in leaves if z.grad is not None], met
