"""Computations across the batch without pairs: means, cross-moments, assignments to prototypes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .inputs import upcast
from .ranks import Ranks

_ALONE = Ranks()


def mean(
    values: Float[Tensor, " B *rest"], weights: Float[Tensor, " B"] | None = None, *, ranks: Ranks = _ALONE
) -> Float[Tensor, "*rest"]:
    """Return the (weighted) mean over the rows of all ranks; 0 where all weights are 0.

    Raises:
        ValueError: for weights that are not one per row.

    >>> mean(torch.tensor([1.0, 5.0, 9.0]), torch.tensor([1.0, 1.0, 0.0])).item()
    3.0
    """
    values = upcast(values)
    if weights is None:
        if ranks.size == 1:
            return values.mean(0)
        # Not the mean of the ranks' means: they may hold different numbers of rows.
        return ranks.sum(values.sum(0)) / sum(ranks.counts(len(values), values.device))
    if weights.shape != values.shape[:1]:
        raise ValueError(f"weights must be one per row, ({len(values)},), got {tuple(weights.shape)}")
    weights = weights.to(values.dtype)
    # A row of weight 0 has no say, not even if it is infinite.
    used = torch.where(_expanded(weights, values) == 0, 0.0, values)
    total = ranks.sum(weights.sum())
    summed = ranks.sum((_expanded(weights, values) * used).sum(0))
    # Over all ranks: one alone may hold no weight.
    return summed / torch.where(total == 0, 1.0, total)


def _expanded(weights: Tensor, values: Tensor) -> Tensor:
    return weights.reshape(-1, *(1 for _ in values.shape[1:]))


def largest(values: Float[Tensor, "*shape"], *, ranks: Ranks = _ALONE) -> Float[Tensor, ""]:
    """Return the largest of the numbers ≥ 0 of all ranks, with gradient; 0 where there is none.

    >>> largest(torch.tensor([1.0, 5.0, 2.0])).item()
    5.0
    """
    here = torch.cat([values.flatten(), values.new_zeros(1)]).amax()
    # One rank has it, the first of those that tie.
    first = torch.stack(ranks.stack(here.detach())).argmax()
    return ranks.sum(torch.where(first == ranks.rank, here, 0.0))


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


def vicreg(
    x: Float[Tensor, "B D"],
    y: Float[Tensor, "B D"],
    weights: Float[Tensor, " B"] | None = None,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    ranks: Ranks = _ALONE,
) -> Float[Tensor, ""]:
    """Return ``λ s(x, y) + μ (v(x) + v(y)) + ν (c(x) + c(y))`` over the N rows of all ranks of weight 1; 0 of N < 2.

        s = 1/(N D) Σ_i ‖x_i − y_i‖²
        v(z) = 1/D Σ_j max(0, 1 − √(Var z_j + 10⁻⁴)),   c(z) = 1/D Σ_{j≠k} Cov(z)_jk²

    with Var and Cov by N − 1. The paper sums s over the D numbers. Its release takes their mean, and so does this.
    The release also takes the mean of v(x) and v(y), where this takes the sum: the release's weights 25, 25 and 1 are
    λ = 25, μ = 12.5 and ν = 1 here.

    Args:
        x, y: two representations of each row; gradients go to both.
        weights: 0 for rows that are left out, 1 for the others; all are in unless given.
        invariance, variance, covariance: λ, μ and ν.

    Source: Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
    Learning" (2022), arXiv 2105.04906.

    >>> z = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0], [0.0, -3.0]])
    >>> vicreg(z, z).item(), vicreg(z, z + 1).item()
    (0.0, 25.0)
    """
    x, y = upcast(x), upcast(y)
    weights = x.new_ones(len(x)) if weights is None else weights.to(x.dtype)
    count = ranks.total(weights.sum())
    total = invariance * mean((x - y).square().mean(1), weights, ranks=ranks)
    for z in (x, y):
        centred = (z - mean(z, weights, ranks=ranks)) * weights[:, None]
        with torch.autocast(z.device.type, enabled=False):  # which would round the product to half precision
            moment = ranks.sum(centred.T @ centred) / (count - 1).clamp_min(1)
        variances = moment.diagonal()
        total = total + variance * F.relu(1 - (variances + 1e-4).sqrt()).mean()
        total = total + covariance * (moment.square().sum() - variances.square().sum()) / z.shape[1]
    return torch.where(count < 2, 0.0, total)


@torch.no_grad()
def sinkhorn(
    scores: Float[Tensor, "B K"], *, epsilon: float = 0.05, iterations: int = 3, ranks: Ranks = _ALONE
) -> Float[Tensor, "B K"]:
    """Return balanced soft assignments of B samples to K centres; rows sum to 1, columns to about B/K. No gradient.

    In each iteration the mass of every centre is made 1/K, then that of every sample 1/B, in the log domain.

    Args:
        scores: similarities of the samples (of all ranks) to the centres.
        epsilon: the entropy of the assignments; scores are divided by it.
        iterations: with 0 nothing is balanced: softmax(scores/ε).

    Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments"
    (2020).

    >>> sinkhorn(torch.eye(2)).round(decimals=3).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    # In the log domain: exp(scores / ε) leaves float32 where a score exceeds 88 ε.
    logits = upcast(scores) / epsilon
    if not iterations:
        return logits.softmax(1)
    for _ in range(iterations):
        # Sums of 1 in place of 1/K and 1/B: the next step takes a constant factor out again. Samples come last, so
        # that it is their sums which are exact.
        logits = logits - _logsumexp_rows_of_all(logits, ranks)
        logits = logits - logits.logsumexp(1, keepdim=True)
    return logits.exp()


def _logsumexp_rows_of_all(logits: Tensor, ranks: Ranks) -> Tensor:
    local = logits.logsumexp(0)
    return torch.stack(ranks.stack(local)).logsumexp(0) if ranks.size > 1 else local
