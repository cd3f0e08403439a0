"""Which patches a word of a text rests on: attention times the gradient of what it leads to."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

PAPERS = {"softmask": ("relevance",)}


def relevance(
    scores: Float[Tensor, " n"], attention: Float[Tensor, "n h L P"], create_graph: bool = False
) -> Float[Tensor, "n L P"]:
    """Return how much each word rests on each patch: ``mean over heads of relu(a · ∂s/∂a)``.

    Args:
        scores: s of each pair, which is computed from its own attention alone.
        attention: a, the probabilities with which the words of a pair attend to patches, in the graph of the scores.
        create_graph: whether the result has a gradient, through a and through ∂s/∂a.

    Source: Selvaraju et al., "Grad-CAM" (2016), arXiv 1610.02391, of attention, as in ALBEF (arXiv 2107.07651).

    >>> attention = torch.tensor([[[[0.25, 0.75]]]], requires_grad=True)
    >>> relevance((attention * torch.tensor([2.0, -1.0])).sum((1, 2, 3)), attention).tolist()
    [[[0.5, 0.0]]]
    """
    (gradient,) = torch.autograd.grad(scores.sum(), attention, create_graph=create_graph)
    attention = attention if create_graph else attention.detach()
    return (attention * gradient).clamp_min(0).mean(1)


def unit_range(maps: Float[Tensor, "n P"]) -> Float[Tensor, "n P"]:
    """Return maps from 0 to 1, each by its own extremes; 0 everywhere for a map that is constant.

    >>> unit_range(torch.tensor([[1.0, 3.0, 2.0], [4.0, 4.0, 4.0]])).tolist()
    [[0.0, 1.0, 0.5], [0.0, 0.0, 0.0]]
    """
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    spread = high - low
    return (maps - low) / torch.where(spread > 0, spread, 1.0)
