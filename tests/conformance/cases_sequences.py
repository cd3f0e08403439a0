"""Cases of losses between sequences."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from case_tools import Case, Inputs, average, total
from torch import Tensor

from counterpoint.losses import BestAlignmentLoss


def sequences(g: torch.Generator, n: int, d: int, masked: bool = False, some: bool = False) -> Inputs:
    x, y = (torch.randn(n, length, d, generator=g, dtype=torch.float64) for length in (5, 3))
    extras: dict[str, Any] = {}
    if masked:
        row = torch.arange(n)[:, None]
        extras = {"x_mask": torch.arange(5) < 3 + row % 3, "y_mask": torch.arange(3) < 1 + row % 3}
    if some:
        extras["rows"] = torch.arange(n) % 3 != 1
    return (x, y, extras) if extras else (x, y)


def longer(inputs: Inputs) -> Inputs:
    """The sides change places, cut and repeated so that there are no fewer frames than tokens."""
    x, y, *rest = inputs
    return (torch.cat([y, y[:, -1:], y[:, -1:]], 1), x[:, :3], *rest)


def paths(frames: int, tokens: int) -> list[list[int]]:
    """Return every way in which frames say tokens one after the other: where each token but the first begins."""
    return [
        [sum(begin <= frame for begin in begins) for frame in range(frames)]
        for begins in combinations(range(1, frames), tokens - 1)
    ]


def best_alignment_loops(
    loss: BestAlignmentLoss,
    x: Tensor,
    y: Tensor,
    x_mask: Tensor | None = None,
    y_mask: Tensor | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    values = []
    for i in range(len(x)):
        if rows is not None and not rows[i]:
            continue
        frames = len(x[i]) if x_mask is None else int(x_mask[i].sum())
        tokens = len(y[i]) if y_mask is None else int(y_mask[i].sum())

        def cost(t: int, n: int, i: int = i) -> Tensor:
            if loss.cost == "cosine":
                return 1 - F.cosine_similarity(x[i, t], y[i, n], dim=0)
            return total([(a - b) ** 2 for a, b in zip(x[i, t], y[i, n], strict=True)]) / x.shape[2]

        if loss.path == "uniform":
            ways = [[-(-t * tokens // frames) - 1 for t in range(1, frames + 1)]]
        else:
            ways = paths(frames, tokens)
        costs = torch.stack([total([cost(t, n) for t, n in enumerate(way)]) for way in ways])
        least = -loss.gamma * (-costs / loss.gamma).logsumexp(0) if loss.gamma else costs.min()
        values.append(least / frames)
    return average(values)


CASES = tuple(
    Case(
        "best-alignment",
        best_alignment_loops,
        partial(sequences, masked=masked, some=some),
        options,
        label,
        swap=longer,
    )
    for label, options, masked, some in (
        ("", {}, False, False),
        ("masked", {}, True, False),
        ("cosine", {"cost": "cosine"}, True, True),
        ("soft", {"gamma": 0.5}, True, False),
        ("uniform", {"path": "uniform"}, True, False),
    )
)
