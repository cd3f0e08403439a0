"""The processes that share a batch, and the few collectives that losses are built on.

Gradients follow one rule: every rank's loss is the global value, and what is differentiated is the sum of the
ranks' losses; a data-parallel average over ranks then gives exactly the gradient of one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """``size`` processes, of which this is number ``rank``; one process is an ordinary case.

    ``group`` is what they are to ``torch.distributed``; None stands for all there are.
    """

    rank: int = 0
    size: int = 1
    group: Any = None

    @classmethod
    def present(cls) -> Ranks:
        """Return the default process group, or this process alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def part(self, sizes: Sequence[int]) -> Ranks:
        """Return this rank among those of its part, when all are cut into consecutive parts of so many ranks.

        Every rank must call it, as all take part in forming the parts' groups. Parts of parts are not for it.
        """
        ends = list(accumulate(sizes))
        # All of them, also those of other ranks: every rank has a part in forming each.
        groups = [
            _group(dist.group.WORLD, tuple(range(end - size, end)))
            for size, end in zip(sizes, ends, strict=True)
        ]
        mine = next(number for number, end in enumerate(ends) if self.rank < end)
        return Ranks(self.rank - ends[mine] + sizes[mine], sizes[mine], groups[mine])

    def counts(self, n: int, device: torch.device) -> list[int]:
        """Return the number of rows that each rank holds, given that this rank holds ``n``."""
        if self.size == 1:
            return [n]
        return torch.stack(self.stack(torch.tensor([n], device=self.near(device)))).flatten().tolist()

    def near(self, device: torch.device) -> torch.device:
        """Return where numbers that the processor has and needs are exchanged; a device would have to be waited for.

        >>> Ranks().near(torch.device("cuda"))
        device(type='cpu')
        """
        # Between the processors where they are in touch.
        in_touch = self.size == 1 or "cpu" in dist.get_backend_config(self.group)
        return torch.device("cpu") if in_touch else device

    def rows(self, counts: Sequence[int]) -> slice:
        """Return where this rank's rows are among those of all, given how many each has.

        >>> Ranks(1, 3).rows([4, 2, 2])
        slice(4, 6, None)
        """
        start = sum(counts[: self.rank])
        return slice(start, start + counts[self.rank])

    def stack(self, tensor: Tensor) -> list[Tensor]:
        """Gather the tensor of each rank, in rank order; shapes must agree."""
        if self.size == 1:
            return [tensor]
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous(), group=self.group)
        return parts

    def gather(self, tensor: Tensor, counts: list[int]) -> Tensor:
        """Gather the rows of all ranks, in rank order, however many each holds. Carries no gradient."""
        if self.size == 1:
            return tensor
        rows = tensor.detach().to(torch.uint8) if tensor.dtype == torch.bool else tensor.detach()
        # Shapes must agree between ranks, and numbers of rows need not.
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = self.stack(padded)
        return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)]).to(tensor.dtype)

    def everyones(self, rows: Tensor) -> Tensor:
        """Return a tensor of this rank's rows with the rows of all ranks, and with its gradient if it has one."""
        counts = self.counts(len(rows), rows.device)
        if not rows.is_floating_point():
            return self.gather(rows, counts)
        here = self.rows(counts)
        return self.sum(F.pad(rows, (0, 0, here.start, sum(counts) - here.stop)))

    def total(self, tensor: Tensor) -> Tensor:
        """Return the sum over ranks, without gradient."""
        if self.size == 1:
            return tensor
        # The sum takes the place of what is summed.
        tensor = tensor.detach().clone()
        dist.all_reduce(tensor, group=self.group)
        return tensor

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over ranks, with gradient."""
        if self.size == 1:
            return tensor
        return _Sum.apply(tensor, self)  # type: ignore[no-untyped-call]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.total(tensor)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        # What is differentiated is the sum of the ranks' losses, and each of them saw this sum.
        return ctx.ranks.total(grad), None


@cache
def _group(world: Any, members: tuple[int, ...]) -> Any:
    """Return the group of some ranks of a world, formed once."""
    # `world` is a part of the key alone: groups do not outlive the world that they were formed in.
    return dist.new_group(list(members))
