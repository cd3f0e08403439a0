"""SigLIP: the sigmoid loss wins where batches are small, and can be computed in tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import SigLIPLoss

from .lab import (
    Lab,
    Result,
    Score,
    TrainingComparison,
    above,
    below,
    decides,
    effects,
    exact,
    mean,
    secondary,
    within,
)
from .lab.largest import Largest

CLAIM = (
    "With batches of 8 to 32 pairs the sigmoid loss retrieves at least as well as the tuned softmax loss, and "
    "evaluated in tiles it gives the same loss and gradients in memory that grows with the tile."
)
REFUTED = (
    "the softmax loss wins at small batches by more than a point with both learning rates tuned, or tiles change the "
    "loss or its gradients"
)

BATCHES = (8, 16, 32)
COMPARISON = TrainingComparison(
    {"softmax": "clip", "sigmoid": "siglip", "sigmoid from −10": "siglip,bias=-10"},
    {"retrieval": ("i2t_R@1", "t2i_R@1")},
    data="emoji",
    changes={"steps": 400, "batch_size": 32},
    rates=(1e-3, 3e-3, 1e-2, 3e-4),
)
"""The sigmoid's bias starts at −log(B − 1), where it is balanced, or where the paper has it for batches of 32,768."""


def tiles(size: int = 512, width: int = 8, heights: Sequence[int] = (32, 64, 128)) -> tuple[float, float]:
    """Return the largest relative error of tiled loss and gradients in float64, and how the largest tensor grows.

    Growth is the slope of its size in the height of a tile, both as logarithms.
    """
    generator = torch.Generator().manual_seed(0)
    z = [torch.randn(size, width, generator=generator, dtype=torch.float64) for _ in range(2)]

    def evaluate(evaluator: str, tile: Any) -> tuple[list[Tensor], int]:
        loss = SigLIPLoss().double().evaluated(evaluator, tile)  # type: ignore[arg-type] # a name from a fixed list
        x, y = (F.normalize(part, dim=-1).requires_grad_() for part in z)
        with Largest() as largest:  # type: ignore[no-untyped-call] # as above
            value = loss(x, y)
            value.backward()
        gradients = [p.grad for p in (x, y, *loss.parameters())]
        return [value.detach(), *(g for g in gradients if g is not None)], largest.elements

    dense, _ = evaluate("dense", None)
    worst, largest = 0.0, []
    for tile in heights:
        tiled, elements = evaluate("tiled", (tile, size))
        largest.append(elements)
        for a, b in zip(tiled, dense, strict=True):
            worst = max(worst, float((a - b).norm() / b.norm()))
    return worst, float(np.polyfit(np.log(heights), np.log(largest), 1)[0])


def run(lab: Lab) -> Iterator[Result]:
    studies = {
        batch: lab.study(
            replace(COMPARISON, changes={**COMPARISON.changes, "batch_size": batch}), f"batch-{batch}"
        )
        for batch in BATCHES
    }
    retrieved = {batch: study.scores("retrieval i2t_R@1", "compositions") for batch, study in studies.items()}

    def gap(arm: str, *batches: int) -> Score:
        return mean(retrieved[batch][arm] - retrieved[batch]["softmax"] for batch in batches)

    balanced, start = "sigmoid", "sigmoid from −10"
    error, slope = tiles()
    yield from decides(
        above(
            gap(balanced, *BATCHES),
            name=f"1: {balanced} − softmax, mean over batches of {listed(BATCHES)}",
            **effects.tolerance("share"),
        ),
        below(
            exact(error, "largest relative error"),
            1e-6,
            name="2: tiled loss and gradients against the full matrix, float64",
        ),
        within(
            exact(slope - 1, "log-log slope of elements"),
            0.1,
            name="2: growth of the largest tensor with the height of a tile, less 1 (linear)",
        ),
    )
    yield from secondary(
        above(gap(start, *BATCHES), name=f"1: {start} − softmax, mean over batches of {listed(BATCHES)}"),
        *(
            above(gap(arm, batch), name=f"1: {arm} − softmax at batch {batch}")
            for arm in (balanced, start)
            for batch in BATCHES
        ),
    )
    rates = (
        f"{name} {batch}: {plan.changes['optimizer.lr']:g}"
        for batch, study in studies.items()
        for name, plan in study.plans.items()
    )
    lab.note(
        "1: the registered clip and siglip on emoji under the recipe seconds, 400 steps at every batch size; learning",
        f"rates by validation under a seed that is not tested ({', '.join(rates)}). R@1: "
        + "; ".join(f"batch {batch}: {scores.means()}" for batch, scores in retrieved.items())
        + ".",
        "The rate 3e-4 was added after a first run without it had mostly chosen its lowest, 1e-3; that run was",
        "inconclusive, at −0.009 [−0.017, 0.000]. These runs are short: all arms are far below what they reach later,",
        "which may change the order.",
    )


def listed(batches: Sequence[int]) -> str:
    return ", ".join(map(str, batches))
