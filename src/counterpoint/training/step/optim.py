"""Optimisers without decay on vectors and scalars, and their schedule: linear warm-up, then a cosine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import nn

from ...recipes.schema import Optimizer
from ..sharing.distributed import is_part

RATE = "rate"
"""The key of a group of parameters that has the factor of its learning rate."""


def optimizer_of(
    module: nn.Module, options: Optimizer, rates: Mapping[str, float] = MappingProxyType({})
) -> torch.optim.Optimizer:
    """Build an optimiser of the trainable parameters; those with fewer than two axes (biases, norms) never decay.

    LARS adapts the rate of what decays alone; of the others it is SGD.

    Args:
        module: whose parameters are trained.
        options: of the recipe.
        rates: factors of the learning rate by how names of parameters begin; see `Method.rates`.

    Raises:
        ValueError: for a factor that is not positive, or a beginning that no parameter has.
    """
    trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
    _check(rates, [name for name, _ in module.named_parameters()])
    factor = {name: rates.get(_beginning(name, rates), 1.0) for name in trainable}

    def those(parts: bool, rate: float, matrices: bool) -> list[nn.Parameter]:
        return [
            p
            for name, p in trainable.items()
            if is_part(p) == parts and factor[name] == rate and (p.ndim >= 2) == matrices
        ]

    groups = [
        {"params": those(parts, rate, matrices), "weight_decay": decay, RATE: rate}
        # Apart from parts of parameters, which torch's optimisers do not mix with others.
        for parts in (False, True)
        for rate in sorted({1.0, *factor.values()})
        for matrices, decay in ((True, options.weight_decay), (False, 0.0))
    ]
    # Empty groups stay only where a whole model is frozen, as of no group at all torch makes no optimiser: checkpoints
    # know the groups that they were written with.
    kept = [group for group in groups if group["params"]] or groups
    if options.name == "sgd":
        return torch.optim.SGD(kept, lr=options.lr, momentum=options.momentum, nesterov=options.momentum > 0)
    if options.name == "lars":
        from timm.optim import Lars

        return Lars(kept, lr=options.lr, momentum=options.momentum)
    return torch.optim.AdamW(kept, lr=options.lr, betas=(options.beta1, options.beta2), eps=options.eps)


def _beginning(name: str, rates: Mapping[str, float]) -> str:
    """Return the longest of the beginnings that a name has; one that it does not have, where it has none."""
    return max((start for start in rates if name.startswith(start)), key=len, default=name)


def _check(rates: Mapping[str, float], names: Sequence[str]) -> None:
    for start, rate in rates.items():
        if not rate > 0:
            raise ValueError(
                f"the learning rate of {start!r} has the factor {rate}; give one above 0: what is not to move is no "
                "matter of rates"
            )
        if not any(name.startswith(start) for name in names):
            raise ValueError(f"no parameter has a name that begins with {start!r}, which a rate is given for")


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
