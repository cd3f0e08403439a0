"""Negatives per anchor: what each example of a batch is contrasted with, asked of the losses before the first step."""

from __future__ import annotations

import torch
from torch import Tensor

from ...data.loading.loader import Loader
from ...methods.base import Method
from ...pairwise.explain import explain
from ...types import Batch, Embeddings, StepInfo
from ..speed.memory import rehearsal
from ..step.stages import last_stage

_EXAMPLES = 64
"""Examples that are encoded."""


def negatives_per_anchor(method: Method, loader: Loader) -> tuple[float, ...]:
    """Return the negatives of an anchor in a whole batch, on average, for each score matrix that the losses form.

    The losses are asked which scores they drive down, of a few examples and of half as many: from there it is a line,
    which is exact where the others count by their place, and an estimate where they count by their labels.

    Args:
        method: at the start of its run; nothing in it changes.
        loader: its batches, of all processes together.

    Returns:
        Nothing for losses that do not score pairs.
    """
    few = loader.first(_EXAMPLES)
    half = next(few.split(max(len(few) // 2, 1)))
    with rehearsal(method):
        counts = [_negatives(method, part) for part in (half, few)]
    slope = 1 / max(len(few) - len(half), 1)
    return tuple(
        more + (loader.batch_size - len(few)) * (more - less) * slope
        for less, more in zip(*counts, strict=True)
    )


def _negatives(method: Method, batch: Batch) -> list[float]:
    """Return the negatives of an anchor of this batch, for each score matrix."""
    # Of the last stage, which leaves the model that is used.
    clock = StepInfo(0, 1, stage=last_stage(method))
    with torch.no_grad():
        batch = method.prepare(batch, clock)
        targets = method.targets(batch)
        features = method.encode(batch)

    def loss(z: Embeddings) -> Tensor:
        together = method.second_round(targets | z, batch)
        return torch.stack([*method.losses(together, batch, clock).values()]).sum()

    return [float((force.pull < 0).sum(1).double().mean()) for force in explain(loss, features).forces]


def negatives_in_words(negatives: tuple[float, ...]) -> str:
    """Write the numbers of negatives, those that are alike once; matched pairs alone have none.

    >>> negatives_in_words((127.0, 127.0)), negatives_in_words((254.0, 16511.4, 0.0)), negatives_in_words(())
    ('127', '254 and 16,511', 'none')
    """
    return " and ".join(dict.fromkeys(f"{number:,.0f}" for number in negatives if number)) or "none"
