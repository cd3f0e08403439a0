"""The exchange of gradients by two processes, beside ``DistributedDataParallel`` around the same method.

    python benchmarks/exchange.py [STEPS] [BATCH]

Two processes on this machine's processor (gloo), one thread each. Both ways do the same forward pass, loss and backward
pass on the same batch, step by step in alternation; the other way wraps the whole in ``DistributedDataParallel``
as its documentation says. Prints the ratio of step times, ours to theirs: its median and its middle half.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from _timing import spread
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from counterpoint.data.source import load
from counterpoint.methods.base import Method
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.training.loop import forward
from counterpoint.training.run import Run
from counterpoint.training.sharing.parallel import shared
from counterpoint.training.start import prepare
from counterpoint.types import Batch, StepInfo

CLOCK = StepInfo(0, 1)
WARM = 3
"""Steps before the first that counts."""


class Whole(nn.Module):
    """A step's loss as the output of a module."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> Tensor:
        losses, _ = forward(self.method, batch, CLOCK)
        return torch.stack(list(losses.values())).sum()


def timed(step: Any, method: Method) -> float:
    method.zero_grad(set_to_none=True)
    dist.barrier()
    began = time.perf_counter()
    step()
    dist.barrier()
    return time.perf_counter() - began


def work(rank: int, store: str, steps: int, batch_size: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    recipe = override(load_recipe("cpu"), {"batch_size": batch_size, "steps": 1, "towers.image": "vit"})
    ours, loader = prepare(Run("clip", "emoji", recipe), load("emoji"))
    theirs, batch = copy.deepcopy(ours).train(), loader.batch(0)
    parallel = shared(ours.train(), recipe, torch.device("cpu"), batch_size)
    wrapped = DistributedDataParallel(Whole(theirs))

    def our_step() -> None:
        losses, _ = forward(ours, batch, CLOCK)
        total = torch.stack(list(losses.values())).sum()
        parallel.last([total])
        total.backward()
        parallel.average()

    def their_step() -> None:
        wrapped(batch).backward()

    ratios = [timed(our_step, ours) / timed(their_step, theirs) for _ in range(WARM + steps)][WARM:]
    if rank == 0:
        print(f"batch of {batch_size}, two processes: {spread(ratios)} of DistributedDataParallel's step")
    dist.destroy_process_group()


def main(steps: int = 20, batch_size: int = 64) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments = str(Path(folder) / "store"), steps, batch_size
        torch.multiprocessing.spawn(work, arguments, 2)  # type: ignore[no-untyped-call] # torch's


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
