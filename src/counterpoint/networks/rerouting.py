"""Weights of experts that are chosen at test time: descent on a loss, interpolation, and shifts to modes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

PAPERS = {"r2-t2": ("descended", "interpolated", "shifted")}
Loss = Callable[[Float[Tensor, "b mixtures E"]], Float[Tensor, " b"]]


def descended(
    start: Float[Tensor, "b mixtures E"], loss: Loss, steps: int, lr: float
) -> Float[Tensor, "b mixtures E"]:
    """Return weights after steps of Adam on a loss, each row by itself.

    The loss is that of ``r / Σ r``, so that no step goes into the sum. After a step, r is clipped at 0 and divided by
    its sum.

    Args:
        start: distributions over experts.
        loss: of each row.
        steps: T.
        lr: of the first step; a cosine leads to a thousandth of it.

    >>> target = torch.tensor([[[0.0, 1.0]]])
    >>> moved = descended(torch.tensor([[[0.9, 0.1]]]), lambda r: (r - target).square().sum((1, 2)), 50, 0.1)
    >>> bool((moved - target).abs().max() < 0.05), bool((moved.sum(2) - 1).abs().max() < 1e-6)
    (True, True)
    """
    with torch.enable_grad():
        weights = start.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([weights], lr=lr)
        for step in range(steps):
            share = (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.param_groups[0]["lr"] = lr * (1e-3 + (1 - 1e-3) * share)
            before = weights.detach().clone()
            (weights.grad,) = torch.autograd.grad(loss(weights / weights.sum(2, keepdim=True)).sum(), weights)
            optimizer.step()
            with torch.no_grad():
                clipped = weights.clamp_min(0)
                total = clipped.sum(2, keepdim=True)
                weights.copy_(torch.where(total > 0, clipped / total.clamp_min(1e-12), before))
    return weights.detach()


@torch.no_grad()
def interpolated(
    start: Float[Tensor, "b mixtures E"], mean: Float[Tensor, "b mixtures E"], loss: Loss, steps: int
) -> Float[Tensor, "b mixtures E"]:
    """Return ``a mean + (1 − a) start`` of each row with the a of the lowest loss, among 0, 1/steps, …, 1.

    >>> ends = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    >>> interpolated(*ends, lambda r: (r[:, 0, 0] - 0.5).square(), 4).tolist()
    [[[0.5, 0.5]]]
    """
    shares = [number / max(steps, 1) for number in range(steps + 1)]
    candidates = torch.stack([a * mean + (1 - a) * start for a in shares])
    best = torch.stack([loss(weights) for weights in candidates]).argmin(0)
    return candidates[best, torch.arange(len(start), device=start.device)]


@torch.no_grad()
def shifted(
    start: Float[Tensor, "b mixtures E"],
    known: Float[Tensor, "n mixtures E"],
    k: int,
    steps: int,
    pull: float,
) -> Float[Tensor, "b mixtures E"]:
    """Return weights that moved to a mode of known ones: ``r ← pull r̄ + (1 − pull) r`` in each step.

    r̄ is the mean of the k known ones nearest to r, weighted by their cosine to r.

    >>> known = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    >>> shifted(torch.tensor([[[0.6, 0.4]]]), known, 2, 1, 0.5).tolist()
    [[[0.800000011920929, 0.20000000298023224]]]
    """
    weights, flat = start, known.flatten(1)
    for _ in range(steps):
        of_rows = weights.flatten(1)
        index = torch.cdist(of_rows, flat).topk(k, 1, largest=False).indices
        nearest = flat[index]
        likeness = torch.cosine_similarity(nearest, of_rows[:, None], dim=2)
        total = likeness.sum(1, keepdim=True).clamp_min(1e-12)
        mean = (nearest * likeness[..., None]).sum(1) / total
        weights = pull * mean.view_as(weights) + (1 - pull) * weights
    return weights
