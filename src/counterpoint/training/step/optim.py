"""AdamW without decay on vectors and scalars, and its schedule: linear warm-up, then a cosine."""

from __future__ import annotations

import math

import torch
from torch import nn

from ...recipes.schema import Optimizer
from ..sharing.distributed import is_part


def adamw(module: nn.Module, options: Optimizer) -> torch.optim.AdamW:
    """Build AdamW over the trainable parameters; those with fewer than two axes (biases, norms, scales) never decay."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    decayed, rest = [p for p in trainable if p.ndim >= 2], [p for p in trainable if p.ndim < 2]
    groups = [
        # Apart from parts of parameters, which torch's optimisers do not mix with others.
        {"params": [p for p in group if is_part(p) == parts], "weight_decay": decay}
        for parts in (False, True)
        for group, decay in ((decayed, options.weight_decay), (rest, 0.0))
    ]
    # Empty groups stay only where a whole model is frozen, as of no group at all torch makes no optimiser: checkpoints
    # know the groups that they were written with.
    return torch.optim.AdamW(
        [group for group in groups if group["params"]] or groups,
        lr=options.lr,
        betas=(options.beta1, options.beta2),
        eps=options.eps,
    )


def learning_rate(step: int, steps: int, options: Optimizer) -> float:
    """Return the learning rate of a step (from 0).

    It rises linearly over the first ``warmup`` of the steps, then follows a cosine down to ``final_lr · lr``.

    >>> rates = [learning_rate(s, 100, Optimizer(lr=1.0, warmup=0.1, final_lr=0.0)) for s in (0, 9, 10, 55, 99)]
    >>> [round(r, 3) for r in rates]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    warmup = round(options.warmup * steps)
    if step < warmup:
        # From a first share and not from 0, at which the first batch would be wasted.
        return options.lr * (step + 1) / warmup
    # At least 1 step, should all of them be warm-up.
    progress = (step - warmup) / max(steps - warmup, 1)
    floor = options.final_lr
    return options.lr * (floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)
