"""The processes that share a batch, and the few collectives that objectives are built on.

Gradients follow one rule: every rank's loss is the global value, and what is differentiated is the sum of the
ranks' losses; a data-parallel average over ranks then gives exactly the gradient of one process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """``size`` processes, of which this is number ``rank``; one process is an ordinary case."""

    rank: int = 0
    size: int = 1

    @classmethod
    def present(cls) -> Ranks:
        """The default process group, or this process alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def counts(self, n: int, device: torch.device) -> list[int]:
        """How many rows each rank holds, given that this one holds ``n``."""
        if self.size == 1:
            return [n]
        return torch.stack(self.stack(torch.tensor([n], device=device))).flatten().tolist()

    def stack(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of each rank, in rank order; shapes must agree."""
        if self.size == 1:
            return [tensor]
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous())
        return parts

    def gather(self, tensor: Tensor, counts: list[int]) -> Tensor:
        """The rows of all ranks, in rank order, however many each holds. Carries no gradient."""
        if self.size == 1:
            return tensor
        rows = tensor.detach().to(torch.uint8) if tensor.dtype == torch.bool else tensor.detach()
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = self.stack(padded)
        return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)]).to(tensor.dtype)

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, without gradient."""
        if self.size == 1:
            return tensor
        tensor = tensor.detach().clone()
        dist.all_reduce(tensor)
        return tensor

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, with gradient."""
        if self.size == 1:
            return tensor
        summed: Tensor = _Sum.apply(tensor, self)  # type: ignore[no-untyped-call]
        return summed


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.total(tensor)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.total(grad), None
