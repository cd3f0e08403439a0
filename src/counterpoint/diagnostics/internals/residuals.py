"""The states that pass by a step of a residual network, against the change that the step adds to them.

Source: the residual analysis of Walmer et al., "Teaching Matters: Investigating the Role of Supervision in Vision
Transformers" (2022), arXiv 2212.03862.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..capture import Captured, Step
from .cka import CKA

PAPERS = {"teaching-matters": ("residuals",)}


@dataclass(frozen=True)
class Residuals:
    """Skip connections beside the branches that are added to them.

    Attributes:
        steps: attention and feed-forward steps, in order.
        alignment: ``[i, j]``, CKA of what step i is given with what step j adds. High on the diagonal: the step says
            again what is known already; NaN for a step that adds nothing.
        ratio: the norm of what each step is given over that of what it adds, over all tokens, averaged over
            examples: far above 1, the step hardly changes anything.
    """

    steps: tuple[Step, ...]
    alignment: Float[Tensor, "steps steps"]
    ratio: Float[Tensor, " steps"]


def residuals(captures: Iterable[Captured]) -> Residuals:
    """Measure how alike a tower's skip connections are to its branches, and how much longer.

    All tokens of an example together are its features, as in the authors' code.

    Args:
        captures: what the tower did with batches of one size, 4 examples at least.

    Raises:
        ValueError: for blocks without halves (convolutions), a batch of fewer than 4 examples, or no batch.

    >>> from counterpoint.diagnostics.capture import captured
    >>> from counterpoint.networks.towers.transformer import VisionTransformer
    >>> tower = VisionTransformer(size=16, depth=2, width=8, heads=2)
    >>> found = residuals([captured(tower, torch.rand(6, 3, 16, 16))])
    >>> [str(step) for step in found.steps], found.alignment.shape
    (['0 attention', '0 mlp', '1 attention', '1 mlp'], torch.Size([4, 4]))
    """
    cka, ratios = CKA(), []
    steps: tuple[Step, ...] = ()
    for look in captures:
        branches = look.branches()
        entries, added = zip(*branches, strict=True)
        cka.update(entries, added)
        ratios.append(torch.stack([_norm(x) / _norm(y) for x, y in branches]))
        steps = look.steps
    if not ratios:
        raise ValueError("there is no batch to look at")
    return Residuals(steps, cka.value(), torch.cat(ratios, 1).mean(1))


def _norm(state: Tensor) -> Float[Tensor, " B"]:
    return torch.linalg.vector_norm(state.flatten(1), dim=1)
