"""A run on the ranks of a pool: each trains on its part of every batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from counterpoint.data.loader import Loader
from counterpoint.data.order import Shuffled
from counterpoint.methods.arm import Arm
from counterpoint.networks.batch_norm import BatchNorm1d
from counterpoint.pairwise.ranks import Ranks
from counterpoint.recipes import load, override
from counterpoint.training.distributed import average_gradients
from counterpoint.training.loop import Progress, fit
from counterpoint.types import Batch, View
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
    rank: int, size: int, arm: str, microbatch: int, folder: Path | None = None
) -> tuple[list[float], dict[str, Tensor]]:
    """The losses of a short run and the state it leaves."""
    recipe = override(
        load("cpu"),
        {
            "steps": STEPS,
            "batch_size": 16,
            "microbatch": microbatch,
            "log_every": 1,
            "checkpoint_every": 1,
            "optimizer.clip_norm": 0.01,  # far below the norm of any of these
            "towers.image_size": 24,
            "towers.vocabulary": 300,
            "widths.ssl_hidden": 32,
            "options": {"siamlip": {"hidden": 32}, "byolip": {"hidden": 32}, "swalip": {"hidden": 32}},
        },
    )
    data, losses = TinyData(), []
    captions = [data.captions(row)[0] for row in range(len(data))]
    method = Arm.parse(arm).build(recipe, {"text": captions}, seed=0).double()
    loader = DoubleLoader(
        data,
        Shuffled(data.splits.train, recipe.batch_size, 0),
        method.views,
        augmentation=recipe.augmentation,
        inputs=method.inputs,
        rank=rank,
        world=size,
    )

    def told(progress: Progress) -> None:
        losses.append(progress.loss)

    fit(method, loader, recipe, folder, accelerator="cpu", on_step=told)
    return losses, method.state_dict()


def job_wrong_loader(rank: int, size: int) -> str:
    """Return the error that a loader of one process causes on a rank."""
    recipe = override(load("cpu"), {"towers.image_size": 24, "towers.vocabulary": 300})
    data = TinyData()
    method = Arm.parse("clip").build(recipe, {"text": [data.captions(0)[0]]}, seed=0)
    loader = Loader(
        data,
        Shuffled(data.splits.train, 4, 0),
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
