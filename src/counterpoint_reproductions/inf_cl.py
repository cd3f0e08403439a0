"""Inf-CL: the contrastive loss in tiles is exact, and its memory grows with the batch, not with its square."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import InfoNCELoss

from .lab import Lab, Result, below, decides, exact, within
from .lab.largest import Largest

CLAIM = (
    "Tile by tile the contrastive loss and all its gradients are those of the whole matrix, in memory that "
    "grows linearly with the batch."
)
REFUTED = "any mismatch beyond rounding, or memory of tiles that grows faster than the batch"
OWN = (
    "The package's InfoNCE loss is evaluated on random features. The claim is on its value, gradients and memory, so "
    "that no method is trained."
)


BATCHES, TILES = (1, 7, 64, 1000), (1, 8, 256)
SIZES, WIDTH = (512, 1024, 2048, 4096), 64


def embeddings(n: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(n)
    return [
        F.normalize(torch.randn(n, width, generator=generator, dtype=dtype), dim=-1).requires_grad_()
        for _ in range(2)
    ]


def plain(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """Compute PyTorch's cross-entropy on the whole matrix."""
    logits, target = scale * x @ y.T, torch.arange(len(x))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def error(n: int, tile: int) -> float:
    """Return the largest relative error of the loss and of its gradients in both sides and in the temperature."""
    loss = InfoNCELoss().double().evaluated("tiled", tile)
    parameter = loss.temperature.parameter
    assert parameter is not None
    x, y = embeddings(n, 8, torch.float64)
    value = loss(x, y)
    expected = plain(x, y, loss.temperature.inverse())
    ours = torch.autograd.grad(value, (x, y, parameter))
    theirs = torch.autograd.grad(expected, (x, y, parameter))
    worst = 0.0
    for a, b in zip((value, *ours), (expected, *theirs), strict=True):
        worst = max(worst, float((a - b).detach().norm() / b.detach().norm().clamp_min(1e-3)))
    return worst


def largest(n: int, evaluator: str) -> int:
    """Count the elements of the largest tensor of a forward and backward pass."""
    loss = InfoNCELoss().evaluated(evaluator, 32)  # type: ignore[arg-type] # a name from a fixed list
    with Largest() as seen:  # type: ignore[no-untyped-call] # torch leaves it untyped
        loss(*embeddings(n, WIDTH, torch.float32)).backward()
        elements: int = seen.elements
    return elements


def slope(sizes: Sequence[int], evaluator: str) -> float:
    """Fit the growth of the largest tensor with the batch: the exponent of a power law."""
    return float(np.polyfit(np.log(sizes), np.log([largest(n, evaluator) for n in sizes]), 1)[0])


def run(lab: Lab) -> Iterator[Result]:
    cases = [(n, tile) for n, tile in product(lab.some(BATCHES), lab.some(TILES)) if n * n // tile**2 < 10**5]
    sizes = lab.some(SIZES)
    yield from decides(
        below(
            exact(max(error(n, tile) for n, tile in cases), "largest relative error"),
            1e-10,
            name="1: loss and gradients in tiles against PyTorch's cross-entropy, float64",
        ),
        within(
            exact(slope(sizes, "tiled") - 1, "log-log slope of elements"),
            0.1,
            name="2: growth of the largest tensor with the batch in tiles, less 1 (linear)",
        ),
        within(
            exact(slope(sizes, "dense") - 2, "log-log slope of elements"),
            0.1,
            name="2: the same for the whole matrix, less 2 (quadratic)",
        ),
    )
    lab.note(
        f"1: batches of {', '.join(map(str, BATCHES))} in tiles of {', '.join(map(str, TILES))} (the smallest",
        "tiles with the smaller batches only). 2: the largest tensor of a pass in tiles of 32, batches of",
        f"{SIZES[0]:,} to {SIZES[-1]:,}, width {WIDTH}. That the result does not depend on the number of",
        "processes is a test (tests/conformance, 1 to 3 gloo ranks), and time a benchmark; neither is here.",
    )
