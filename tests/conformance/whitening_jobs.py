"""The job by which a rank finds out whether whitening sees the batch of all ranks."""

from __future__ import annotations

import torch
import torch.distributed as dist
from method_stubs import ThroughText, batch, run, through
from torch import Tensor

from counterpoint.types import Batch

CUTS = {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 8, 11]}


class Encoded(ThroughText):
    """A tower of one linear layer on features that a test chooses."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        g = torch.Generator().manual_seed(3)
        self.weight = torch.nn.Parameter(torch.randn(width, width, generator=g, dtype=torch.float64))

    def forward(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        return (x @ self.weight).tanh()


def job_whitened_cse(rank: int, size: int, detach: bool) -> tuple[Tensor, list[Tensor]]:
    """The method's loss and rank-averaged gradients, on this rank's rows, its generator elsewhere."""
    method = through("whitened-cse", groups=2, temperature=0.2, detach_whitening=detach)
    method.towers["text"] = Encoded(8)
    whole = batch(method, size=11, dtype=torch.float64)
    own = slice(*CUTS[size][rank : rank + 2])
    torch.manual_seed(rank)
    loss = run(method, Batch(whole.ids[own], {k: v[own] for k, v in whole.views.items()}))["whitened-cse"]
    wanted = [method.towers["text"].weight, *method.head.parameters()]
    grads = list(torch.autograd.grad(loss, wanted))
    if dist.is_initialized():
        for grad in grads:
            dist.all_reduce(grad)
    return loss.detach(), [grad / size for grad in grads]
