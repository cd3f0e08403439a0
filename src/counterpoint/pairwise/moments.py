"""Computations across the batch without pairs: means, cross-moments, assignments to prototypes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .inputs import upcast
from .ranks import Ranks

_ALONE = Ranks()


def mean(
    values: Float[Tensor, " B *rest"], weights: Float[Tensor, " B"] | None = None, *, ranks: Ranks = _ALONE
) -> Float[Tensor, "*rest"]:
    """Return the (weighted) mean over the rows of all ranks; 0 where all weights are 0.

    >>> mean(torch.tensor([1.0, 5.0, 9.0]), torch.tensor([1.0, 1.0, 0.0])).item()
    3.0
    """
    values = upcast(values)
    if weights is None:
        if ranks.size == 1:
            return values.mean(0)
        # Not the mean of the ranks' means: they may hold different numbers of rows.
        return ranks.sum(values.sum(0)) / sum(ranks.counts(len(values), values.device))
    weights = weights.to(values.dtype)
    # A row of weight 0 has no say, not even if it is infinite.
    used = torch.where(_beside(weights, values) == 0, 0.0, values)
    total = ranks.sum(weights.sum())
    summed = ranks.sum((_beside(weights, values) * used).sum(0))
    # Over all ranks: one alone may hold no weight.
    return summed / torch.where(total == 0, 1.0, total)


def _beside(weights: Tensor, values: Tensor) -> Tensor:
    return weights.reshape(-1, *(1 for _ in values.shape[1:]))


def cross_moment(
    x: Float[Tensor, "B D"], y: Float[Tensor, "B E"], *, ranks: Ranks = _ALONE
) -> Float[Tensor, "D E"]:
    """Return ``(1/N) Σ_i x_i y_iᵀ`` over the N rows of all ranks.

    >>> cross_moment(torch.eye(2), torch.eye(2)).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    x, y = upcast(x), upcast(y)
    with torch.autocast(x.device.type, enabled=False):  # which would round the product to half precision
        return ranks.sum(x.T @ y) / sum(ranks.counts(len(x), x.device))


@torch.no_grad()
def sinkhorn(
    scores: Float[Tensor, "B K"], *, epsilon: float = 0.05, iterations: int = 3, ranks: Ranks = _ALONE
) -> Float[Tensor, "B K"]:
    """Return balanced soft assignments of B samples to K centres; rows sum to 1, columns to about B/K. No gradient.

    In each iteration the mass of every centre is made 1/K, then that of every sample 1/B, in the log domain.

    Args:
        scores: similarities of the samples (of all ranks) to the centres.
        epsilon: the entropy of the assignments; scores are divided by it.
        iterations: at least 1.

    Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments"
    (2020).

    >>> sinkhorn(torch.eye(2)).round(decimals=3).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    # In the log domain: exp(scores / ε) leaves float32 where a score exceeds 88 ε.
    logits = upcast(scores) / epsilon
    for _ in range(iterations):
        # Sums of 1 in place of 1/K and 1/B: the next step takes a constant factor out again. Samples come last, so
        # that it is their sums which are exact.
        logits = logits - _logsumexp_rows_of_all(logits, ranks)
        logits = logits - logits.logsumexp(1, keepdim=True)
    return logits.exp()


def _logsumexp_rows_of_all(logits: Tensor, ranks: Ranks) -> Tensor:
    local = logits.logsumexp(0)
    return torch.stack(ranks.stack(local)).logsumexp(0) if ranks.size > 1 else local
