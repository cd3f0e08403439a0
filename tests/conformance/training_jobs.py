"""A run on the ranks of a pool: each trains on its part of every batch."""

from __future__ import annotations

import errno
import signal
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.checkpoint import FileSystemWriter

from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.execution import StopRequest
from counterpoint.methods.arm import Arm
from counterpoint.networks.batch_norm import BatchNorm1d
from counterpoint.pairwise import Loss
from counterpoint.pairwise.ranks import Ranks
from counterpoint.recipes import load, override
from counterpoint.training.loop import TrainingProgress, fit, forward
from counterpoint.training.run import target_of
from counterpoint.training.saving.checkpoint import CheckpointError
from counterpoint.training.sharing.distributed import average_gradients, whole
from counterpoint.training.sharing.parallel import Overlapped, shared
from counterpoint.training.speed.compiled import compile_blocks
from counterpoint.training.speed.recompute import recompute
from counterpoint.training.step import caching
from counterpoint.types import Batch, StepInfo, View
from fixtures.tiny import TinyData

STEPS = 2


class DoubleLoader(Loader):
    """Pictures in float64, in which the order of a sum hardly matters."""

    def batch(self, step: int, steps: int | None = None) -> Batch:
        batch = super().batch(step, steps)
        return replace(
            batch, views={k: v.double() if v.is_floating_point() else v for k, v in batch.views.items()}
        )


def job_run(
    rank: int,
    size: int,
    arm: str,
    microbatch: int,
    folder: Path | None = None,
    mode: str = "auto",
    steps: int = STEPS,
    batch: int = 16,
    precision: str = "32",
    checkpoint_every: int = 1,
    until: int = 0,
    again: bool = False,
    tile: int | None = None,
    compiled: bool = False,
) -> tuple[list[float], dict[str, Tensor]]:
    """The losses of a short run, which the first rank may be asked to stop behind a step, and the state it leaves."""
    mode = mode if size > 1 else "auto"
    recipe = override(
        load("cpu"),
        {
            "steps": steps,
            "batch_size": batch,
            "microbatch": microbatch,
            "parallel.mode": mode,
            "precision": precision,
            "log_every": 1,
            "validate_every": 4,
            "checkpoint_every": checkpoint_every,
            "optimizer.clip_norm": 0.01,  # far below the norm of any of these
            "towers.image_size": 24,
            "towers.vocabulary": 300,
            "widths.ssl_hidden": 32,
            "options": {"siamlip": {"hidden": 32}, "byolip": {"hidden": 32}, "swalip": {"hidden": 32}},
        },
    )
    data, losses = TinyData(), []
    captions = [data.captions(row)[0] for row in range(len(data))]
    parsed = Arm.parse(arm)
    method = parsed.build(recipe, {"text": captions}, seed=0, target=target_of(parsed, "", data))
    if precision == "32":
        method = method.double()
    if compiled:
        # All but the machine's own code, which takes minutes to be made.
        with patch.object(torch, "compile", partial(torch.compile, backend="aot_eager")):
            compile_blocks(method)
    if again:
        recompute(method)
    for loss in method.modules():
        if isinstance(loss, Loss) and tile:
            loss.evaluated("auto", tile=tile)
    loader = (DoubleLoader if precision == "32" else Loader)(
        data,
        ShuffledOrder(data.splits.train, recipe.batch_size, 0),
        method.views,
        augmentation=recipe.augmentation,
        inputs=method.inputs,
        rank=rank,
        world=size,
    )

    def told(progress: TrainingProgress) -> None:
        losses.append(progress.loss)
        if progress.step == until > 0 and rank == 0:
            signal.raise_signal(signal.SIGTERM)

    def validate(method: Any) -> dict[str, float]:
        with torch.inference_mode():  # as evaluation does, between two steps
            return {"sum": float(method.embed(method.embeds[-1], captions[:3]).sum())}

    seen = validate if method.embeds[-1] == "text" else None
    with suppress(StopRequest):
        fit(method, loader, recipe, folder, accelerator="cpu", on_step=told, validate=seen)
    return losses, {name: whole(value).clone() for name, value in method.state_dict().items()}


def job_full_disk(rank: int, size: int, folder: Path) -> str:
    """Return the error of a run in parts, when the disk of the last rank is full after the first checkpoint."""
    write, calls = FileSystemWriter.write_data, [0]

    def full(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] > 1 and rank == size - 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    FileSystemWriter.write_data = full  # type: ignore[method-assign]
    try:
        job_run(rank, size, "clip", 0, folder, "fsdp", 9, 17, "32", 2)
    except CheckpointError as error:
        return str(error)
    finally:
        FileSystemWriter.write_data = write  # type: ignore[method-assign]
    return ""


def job_refused(rank: int, size: int, changes: dict[str, Any]) -> str:
    """Return the error with which fsdp is refused."""
    recipe = override(
        load("cpu"),
        {
            "steps": 1,
            "batch_size": 8,
            "towers.image_size": 24,
            "towers.vocabulary": 300,
            "parallel.mode": "fsdp",
        }
        | changes,
    )
    method = Arm.parse("clip").build(recipe, {"text": [TinyData().captions(0)[0]]}, seed=0)
    try:
        shared(method, recipe, torch.device("cpu"), recipe.batch_size)
    except ValueError as error:
        return str(error)
    return ""


def job_exchanges(rank: int, size: int) -> list[int]:
    """Return how many buckets of gradients a step exchanges, whole and in three microbatches."""
    counts = []
    for microbatch in (0, 3):
        recipe = override(load("cpu"), {"towers.image_size": 24, "towers.vocabulary": 300})
        method = Arm.parse("clip").build(recipe, {"text": [TinyData().captions(0)[0]]}, seed=0)
        parallel = shared(method, recipe, torch.device("cpu"), 16)
        assert isinstance(parallel, Overlapped)
        buckets: list[int] = []

        def note(state: Any, bucket: Any, buckets: list[int] = buckets) -> Any:
            buckets.append(bucket.index())
            return default_hooks.allreduce_hook(None, bucket)

        note.__annotations__.clear()  # torch takes them for types, and they are texts
        parallel.exchange.register_comm_hook(None, note)
        data = TinyData()
        loader = Loader(
            data,
            ShuffledOrder(data.splits.train, 16, 0),
            method.views,
            augmentation=recipe.augmentation,
            inputs=method.inputs,
            rank=rank,
            world=size,
        )
        batch, clock = loader.batch(0), StepInfo(0, 1)
        if microbatch:
            caching.backward(method, batch, clock, microbatch, parallel=parallel)
        else:
            losses, _ = forward(method, batch, clock)
            parallel.last(losses.values())
            torch.stack(list(losses.values())).sum().backward()
        parallel.average()
        counts.append(len(buckets))
    return counts


def job_wrong_loader(rank: int, size: int) -> str:
    """Return the error that a loader of one process causes on a rank."""
    recipe = override(load("cpu"), {"towers.image_size": 24, "towers.vocabulary": 300})
    data = TinyData()
    method = Arm.parse("clip").build(recipe, {"text": [data.captions(0)[0]]}, seed=0)
    loader = Loader(
        data,
        ShuffledOrder(data.splits.train, 4, 0),
        {"image": View("image")},
        augmentation=recipe.augmentation,
        inputs=method.inputs,
    )
    try:
        fit(method, loader, recipe, accelerator="cpu")
    except ValueError as error:
        return str(error)
    return ""


def job_partial_gradients(rank: int, size: int) -> list[Any]:
    """Averages of a gradient that all ranks have, one that the last has, and one that none has."""
    module = torch.nn.ParameterList([torch.zeros(2), torch.zeros(1), torch.zeros(3)])
    module[0].grad = torch.full((2,), float(rank))
    if rank == size - 1:
        module[1].grad = torch.ones(1)
    average_gradients(module, Ranks.present())
    return [None if p.grad is None else p.grad.tolist() for p in module]


def job_far_gradients(rank: int, size: int) -> list[Any]:
    """Gradients of parameters whose numbers cannot be had, as if their device never came to an end."""
    module = torch.nn.ParameterList([torch.zeros(2, device="meta")])
    average_gradients(module, Ranks.present())
    return [p.grad for p in module]


def job_batch_norm(rank: int, size: int, affine: bool) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Outputs of this rank's rows, the gradient in them, and the state, of a batch norm after one batch of 11."""
    g = torch.Generator().manual_seed(0)
    x, target = torch.randn(2, 11, 4, generator=g, dtype=torch.float64).unbind()
    cuts = {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 8, 11]}[size]
    own = slice(*cuts[rank : rank + 2])
    norm = BatchNorm1d(4, affine=affine).double()
    x = (3 * x[own] + 1).requires_grad_()
    out = norm(x)
    ranks = Ranks.present()
    loss = ranks.sum((out * target[own]).square().sum())
    loss.backward()
    average_gradients(norm, ranks)
    state = {**norm.state_dict(), **{f"{k}.grad": p.grad for k, p in norm.named_parameters()}}
    return out.detach(), x.grad / size, state
