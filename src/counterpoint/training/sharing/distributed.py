"""Several processes that train one model: each sees its part of every batch, and their gradients are averaged.

``torchrun --nproc-per-node 8 -m counterpoint train clip`` starts them. Losses are those of the whole batch whatever
the number of processes (see `counterpoint.pairwise.ranks`), so the run is the one that a single process would do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from ...execution.holder import Holder
from ...execution.ranks import first_to_fail
from ...execution.signals import postponed
from ...pairwise.ranks import Ranks
from ...reasons import reason


class RankFailedError(RuntimeError):
    """One of the processes of a run failed; the message says which, on which host, and why."""


_LOOKS = 20
"""For a process that is gone, a tenth of a second apart."""
BUCKET = 2**23
"""Numbers that are exchanged at a time: enough to hide a message's delay, few beside a model's gradients."""


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started into a group until the end; just this process without ``torchrun``.

    >>> with joined() as ranks:
    ...     ranks.rank, ranks.size
    (0, 1)
    """
    if dist.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks.present()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
    store, rank, size = next(rendezvous("env://"))
    # A launcher that starts its processes again keeps its store, in which addresses of dead ones would be found.
    start = f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')} of {size}"
    # Few numbers, which processors have and need, are theirs to exchange.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    prefixed = dist.PrefixStore(start, store)  # type: ignore[attr-defined] # its types leave it out
    dist.init_process_group(backend, store=prefixed, rank=rank, world_size=size)
    present = Holder.present()
    every: list[Any] = [None] * size
    dist.all_gather_object(every, present)
    try:
        yield Ranks.present()
    except BaseException as error:
        # A launcher asks all to end as soon as it misses one, be it while that is looked for here, and said.
        with postponed():
            lost = _lost(every, present) if _of_others(error) else ""
            asked = not isinstance(error, Exception) and not lost
            said = str(error) if asked else lost or f"rank {rank} on {present.host}: {reason(error)}"
            # Before the group is left, since the others then fail of that, and would be taken for the cause.
            first_to_fail(said)
        if asked:
            raise
        raise RankFailedError(said) from error
    finally:
        dist.destroy_process_group()


def _of_others(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it came in the wake of, is of a rank that waits for another in vain."""
    # What gloo says comes as a plain error.
    return error is not None and (
        isinstance(error, dist.DistError) or "gloo" in str(error) or _of_others(error.__context__)
    )


def _lost(every: list[Holder], present: Holder) -> str:
    """Say which process of this machine is gone without a word; an empty text where none is.

    A process that waits for it in vain fails before the system has buried it, so that it takes some looks.
    """
    for _ in range(_LOOKS):
        for rank, process in enumerate(every):
            if process.machine == present.machine and not process.alive():
                return (
                    f"rank {rank} on {process.host}: process {process.process} is gone without a word, as one is that "
                    "the system kills for want of memory; the same command goes on from the last checkpoint"
                )
        time.sleep(0.1)
    return ""


def local_rank() -> int:
    """Return the number of this process on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def device_of(accelerator: str) -> torch.device:
    """Return this process's device: its own GPU, the one GPU of a Mac, or the processor.

    Args:
        accelerator: ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``, the fastest there is.
    """
    if accelerator == "auto":
        has_mps = torch.backends.mps.is_available()
        accelerator = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    return torch.device(accelerator, local_rank()) if accelerator == "cuda" else torch.device(accelerator)


@contextmanager
def first_alone() -> Iterator[bool]:
    """Let the first rank go through the block before the others, who find what it wrote; True on the first.

    The others wait for as long as it takes: data may be fetched and prepared in there.
    """
    ranks = Ranks.present()
    first = ranks.rank == 0
    if not first:
        dist.barrier(group=_patient(dist.group.WORLD))
    yield first
    if first and ranks.size > 1:
        dist.barrier(group=_patient(dist.group.WORLD))


@lru_cache(maxsize=1)
def _patient(world: Any) -> Any:
    """Return a group of all ranks in which nothing is too long, formed once in the life of the first."""
    return dist.new_group(backend="gloo", timeout=timedelta(days=30))


@torch.no_grad()
def average_gradients(module: nn.Module, ranks: Ranks) -> None:
    """Average every parameter's gradient over ranks, once a step, after the backward pass.

    A parameter without a gradient on this rank counts as 0, and has none afterwards if no rank has. Unlike
    ``DistributedDataParallel`` this does not mind how a gradient came about: in one backward pass or in many
    (gradient caching), in all parameters or in some. Parts of parameters are left alone: of these the backward pass
    has brought the mean.
    """
    if ranks.size == 1:
        return
    parameters = [p for p in module.parameters() if p.requires_grad and not is_part(p)]
    if not parameters:
        return
    # All ranks must exchange the same parameters in the same order, whichever each has a gradient of.
    having = torch.tensor([p.grad is not None for p in parameters], device=ranks.near(parameters[0].device))
    used = [p for p, n in zip(parameters, ranks.total(having.int()).tolist(), strict=True) if n]
    for bucket in _buckets(used):
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
        mean = ranks.total(torch.cat([g.flatten() for g in gradients])) / ranks.size
        parts = torch.split(mean, [g.numel() for g in gradients])
        for p, g, averaged in zip(bucket, gradients, parts, strict=True):
            p.grad = averaged.view_as(g)


@torch.no_grad()
def clip_gradients(parameters: list[nn.Parameter], limit: float) -> None:
    """Scale gradients down to a norm, that of all together, of which each rank may have a part."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    parts = [g for g in gradients if is_part(g)]
    if not parts:
        torch.nn.utils.clip_grad_norm_(parameters, limit)
        return
    here = [local(g) for g in parts]
    whole = [g for g in gradients if not is_part(g)]
    squares = Ranks.present().total(_square(here)) + (_square(whole) if whole else 0.0)
    scale = (limit / (squares.sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in (*here, *whole):
        gradient.mul_(scale)


def _square(tensors: list[Tensor]) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(t) for t in tensors]).square().sum()


def is_part(tensor: Tensor) -> bool:
    """Return whether ranks have a part each of what a tensor stands for (torch's ``DTensor``)."""
    # Not by the class, whose module takes long to import and is needed for ``fsdp`` alone.
    return hasattr(tensor, "full_tensor")


def local(tensor: Any) -> Tensor:
    """Return this rank's part of a tensor, which shares its memory."""
    return tensor.to_local()


def whole(tensor: Any) -> Tensor:
    """Return a tensor as one, brought together from all ranks where each has a part: all must ask for it."""
    return tensor.full_tensor() if is_part(tensor) else tensor


def like(tensor: Tensor, parameter: Any) -> Tensor:
    """Return a tensor in the way in which a parameter is kept: as this rank's part, or as it is."""
    if not is_part(parameter) or is_part(tensor):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    there = tensor.to(parameter.device)
    return distribute_tensor(there, parameter.device_mesh, parameter.placements, src_data_rank=None)


def _buckets(parameters: list[nn.Parameter]) -> Iterator[list[Tensor]]:
    """Yield consecutive parameters of one type, as many as a bucket holds and at least one."""
    bucket: list[Tensor] = []
    for parameter in parameters:
        full = bucket and sum(p.numel() for p in bucket) + parameter.numel() > BUCKET
        # One type a bucket: its gradients travel as one vector.
        if full or (bucket and bucket[0].dtype != parameter.dtype):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket
