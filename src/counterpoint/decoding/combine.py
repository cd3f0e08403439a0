"""One distribution out of several: weights of the branches' logits, and which tokens may be chosen at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PAPERS = {"code-decoding": ("bounded_divergence",), "vcd": ("plausible",)}

Weight = float | Float[Tensor, " b"]
"""The weight of a branch: the same for all rows, or one a row."""


@dataclass(frozen=True)
class BranchWeights:
    """The weights of one step: ``w_i`` for the i-th further branch, and the rest of ``total`` for the user's own.

    ``combined = (total − Σ w_i)·l + Σ w_i·l_i``, computed as ``total·l + Σ w_i·(l_i − l)``, so that branches equal
    to the user's own change nothing where the total is one, to the last bit.
    """

    others: Sequence[Weight]
    total: Weight = 1.0


def combine(
    logits: Float[Tensor, "b v"], others: Sequence[Float[Tensor, "b v"]], weights: BranchWeights
) -> Float[Tensor, "b v"]:
    """Return the weighted sum of the branches' logits.

    >>> logits, other = torch.tensor([[2.0, 1.0]]), torch.tensor([[2.0, 0.0]])
    >>> combine(logits, [other], BranchWeights([-0.5]))
    tensor([[2.0000, 1.5000]])
    """
    result = _column(weights.total) * logits
    for weight, other in zip(weights.others, others, strict=True):
        result = result + _column(weight) * (other - logits)
    return result


def _column(weight: Weight) -> float | Float[Tensor, "b 1"]:
    return weight[:, None] if isinstance(weight, Tensor) else weight


def comparable(other: Float[Tensor, "b w"], logits: Float[Tensor, "b v"]) -> Float[Tensor, "b v"]:
    """Return a branch's logits over the user's own vocabulary, finite wherever those are.

    A token that the branch does not know, since its vocabulary is smaller or since it gives −∞, gets the
    log-probability that the user's own input gives it: it is not contrasted. Surplus entries are dropped. A
    branch that knows no token is the user's own.
    """
    v = logits.shape[-1]
    known = torch.full_like(logits, -math.inf)
    known[:, : min(v, other.shape[-1])] = other[:, :v]
    missing = known.isneginf()
    if not missing.any():
        return known
    shift = known.logsumexp(-1, keepdim=True) - logits.masked_fill(missing, -math.inf).logsumexp(
        -1, keepdim=True
    )
    shift = shift.nan_to_num(0.0)  # of a branch that knows no token
    return torch.where(missing, logits + shift, known)


def plausible(logits: Float[Tensor, "b v"], beta: Weight) -> Bool[Tensor, "b v"]:
    """Return adaptive plausibility: ``p(y) ≥ β·max_w p(w)``, computed as ``l_y ≥ log β + max_w l_w`` in float32.

    β = 0 keeps every token and β = 1 only the likeliest, which always stays.

    >>> plausible(torch.tensor([0.6, 0.3, 0.1]).log()[None], 0.4)
    tensor([[ True,  True, False]])
    """
    logits = logits.float()
    beta = torch.as_tensor(beta, dtype=torch.float32, device=logits.device).clamp(0.0, 1.0)
    return logits >= beta.log().reshape(-1, 1) + logits.amax(-1, keepdim=True)


def nucleus(logits: Float[Tensor, "b v"], top_p: float, temperature: float) -> Bool[Tensor, "b v"]:
    """Return the likeliest tokens that together hold ``top_p`` of ``softmax(logits / temperature)``; never none.

    >>> nucleus(torch.tensor([0.6, 0.3, 0.1]).log()[None], top_p=0.7, temperature=1.0)
    tensor([[ True,  True, False]])
    """
    ordered, index = (logits.float() / temperature).sort(-1)
    keep = ordered.softmax(-1).cumsum(-1) > 1.0 - top_p
    keep[:, -1] = True
    return torch.zeros_like(keep).scatter(-1, index, keep)


def entropy(logits: Float[Tensor, "b v"]) -> Float[Tensor, " b"]:
    """Compute the entropy of ``softmax(logits)``, in nats.

    >>> entropy(torch.zeros(1, 4)).exp()
    tensor([4.])
    """
    p = logits.float().softmax(-1)
    nats: Tensor = torch.special.xlogy(p, p).sum(-1)
    return -nats


def bounded_divergence(
    p: Float[Tensor, "b v"], q: Float[Tensor, "b v"], exponent: float
) -> Float[Tensor, " b"]:
    """Return ``D = ½ Σ_y (p(y) + q(y))·log₂(|p(y) − q(y)|ᵏ + 1)`` in [0, 1]: 0 for equal, 1 for disjoint one-hot ones.

    Args:
        p, q: probabilities.
        exponent: k; the smaller, the sooner D rises.

    >>> p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.45, 0.55]])
    >>> [round(float(bounded_divergence(p, q, k)), 2) for k in (0.2, 1.0)]
    [0.63, 0.07]

    Source: CODE (arXiv 2406.01920).
    """
    p, q = p.float(), q.float()
    return (0.5 * (p + q) * torch.log2((p - q).abs() ** exponent + 1.0)).sum(-1).clamp(0.0, 1.0)
