"""Ranking all labels for queries with several true ones: precision, recall, gain, propensity-scored precision.

Labels of equal score are taken in random order, and an outcome is its expectation over that order.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

PAPERS = {"dexml": ("ndcg", "precision", "psp", "recall")}

Outcomes = Float[np.ndarray, " n"]


def precision(scores: Float[Tensor, "n L"], targets: Bool[Tensor, "n L"], k: int) -> Outcomes:
    """Return P@k of each query: the fraction of its k best labels that are true.

    >>> precision(torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[True, False, True]]), 2).tolist()
    [0.5]

    Raises:
        ValueError: for scores that do not fit the targets or are NaN, and k outside 1, …, L; so do all here.
    """
    _check(scores, targets, k)
    return _numpy((_among(scores, k) * targets).sum(1) / k)


def recall(
    scores: Float[Tensor, "n L"], targets: Bool[Tensor, "n L"], k: int | Int[Tensor, " n"]
) -> Outcomes:
    """Return R@k of each query: the fraction of its true labels that are among the k best; NaN where it has none.

    ``k`` may differ from query to query: the number of true labels, ``targets.sum(1)``, gives R-precision.

    >>> recall(torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[True, False, True]]), 1).tolist()
    [0.5]
    """
    _check(scores, targets, k)
    return _numpy((_among(scores, k) * targets).sum(1) / targets.sum(1))


def ndcg(scores: Float[Tensor, "n L"], targets: Bool[Tensor, "n L"], k: int) -> Outcomes:
    """Return nDCG@k of each query: Σ over true labels at rank r ≤ k of 1 / log₂(1 + r), over its largest value.

    NaN where a query has no true label.

    >>> ndcg(torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[True, False, False]]), 2).tolist()
    [1.0]

    Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002).
    """
    _check(scores, targets, k)
    places = torch.arange(1, scores.shape[1] + 1, dtype=torch.float64, device=scores.device)
    worth = torch.where(places <= k, 1 / (1 + places).log2(), 0.0)
    gain = (_expected(scores, worth.expand(scores.shape)) * targets).sum(1)
    ideal = F.pad(worth.cumsum(0), (1, 0))[targets.sum(1)]
    return _numpy(gain / ideal)


def psp(
    scores: Float[Tensor, "n L"], targets: Bool[Tensor, "n L"], propensities: Float[Tensor, " L"], k: int
) -> float:
    """Return PSP@k: precision in which a rare label counts 1/p, over its largest possible value.

        Σ_i Σ_{true l among the k best of i} 1/p_l  /  Σ_i (the k largest 1/p_l of true labels of i)

    A ratio of sums over all queries, as is usual, and not a mean of ratios.

    >>> scores, targets = torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[True, False, True]])
    >>> psp(scores, targets, torch.tensor([0.5, 1.0, 0.25]), 1)      # found 2, where 4 was there to find
    0.5

    Raises:
        ValueError: also for propensities outside (0, 1], and where no query has a true label.

    Source: Jain et al., "Extreme Multi-label Loss Functions for Recommendation, Tagging, Ranking & Other
    Missing Label Applications" (2016).
    """
    _check(scores, targets, k)
    if propensities.shape != targets.shape[1:] or not bool(((propensities > 0) & (propensities <= 1)).all()):
        raise ValueError(f"propensities must be one number in (0, 1] for each of {targets.shape[1]} labels")
    if not bool(targets.any()):
        raise ValueError("no query has a true label, so there is nothing to find")
    worth = targets / propensities.double()
    return float((_among(scores, k) * worth).sum() / worth.topk(k, 1).values.sum())


def ranking_precision(scores: Float[Tensor, "n L"], targets: Bool[Tensor, "n L"]) -> Outcomes:
    """Return the label-ranking average precision of each query; NaN where it has no true label.

        mean over true labels l of (true labels that score s_l or more) / (labels that score s_l or more)

    Labels that tie all count as ranked before each other, as in scikit-learn: the one function here that does not
    expect their order.

    >>> ranking_precision(torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[False, True, True]])).tolist()
    [0.583333333333]

    Source: Tsoumakas, Katakis and Vlahavas, "Mining Multi-label Data" (2010).
    """
    _check(scores, targets, 1)
    precisions = torch.stack([_among_true(s, t) for s, t in zip(scores, targets, strict=True)])
    return _numpy(precisions)


def _among_true(scores: Float[Tensor, " L"], targets: Bool[Tensor, " L"]) -> Float[Tensor, ""]:
    falling = -scores.double()
    true = falling[targets].sort().values
    before = torch.searchsorted(falling.sort().values, true, right=True)
    return (torch.searchsorted(true, true, right=True).double() / before).mean()


def propensity(counts: Int[Tensor, " L"], n: int, *, a: float = 0.55, b: float = 1.5) -> Float[Tensor, " L"]:
    """Compute how likely a true label is noted: ``1 / (1 + C (N_l + b)^−a)`` with ``C = (log n − 1) (b + 1)^a``.

    >>> propensity(torch.tensor([0, 10, 1000]), n=10_000).round(decimals=2).tolist()
    [0.08, 0.22, 0.77]

    Args:
        counts: N_l, how many of the training examples have label l.
        n: the number of training examples.
        a, b: of the data set; 0.55 and 1.5 unless one has measured them.

    Raises:
        ValueError: for n below 3, where C would not be positive.

    Source: Jain et al. (2016).
    """
    if n < 3:
        raise ValueError(f"n={n} training examples are too few for propensities; they need 3")
    c = (np.log(n) - 1) * (b + 1) ** a
    return 1 / (1 + c * (counts.double() + b) ** -a)


def _among(scores: Tensor, k: int | Tensor) -> Tensor:
    """Return the probability of each label to be among the k best."""
    places = torch.arange(scores.shape[1], device=scores.device)
    limit = k[:, None] if isinstance(k, Tensor) else k
    return _expected(scores, (places < limit).double().expand(scores.shape))


def _expected(scores: Float[Tensor, "n L"], worth: Float[Tensor, "n L"]) -> Float[Tensor, "n L"]:
    """Return the worth of each label's place (best first), its mean over the places of labels that tie."""
    falling = -scores.double()
    ordered = falling.sort(1).values
    first = torch.searchsorted(ordered, falling)
    end = torch.searchsorted(ordered, falling, right=True)
    total = F.pad(worth.cumsum(1), (1, 0))
    return (total.gather(1, end) - total.gather(1, first)) / (end - first)


def _numpy(values: Tensor) -> Outcomes:
    # Sums of a few fractions, so that what should be 1 is 1.
    return values.round(decimals=12).numpy()


def _check(scores: Tensor, targets: Tensor, k: int | Tensor) -> None:
    if scores.ndim != 2 or 0 in scores.shape or scores.shape != targets.shape:
        raise ValueError(
            f"scores and targets must both be (n, L), got {tuple(scores.shape)} and {tuple(targets.shape)}"
        )
    if bool(scores.isnan().any()):
        raise ValueError("scores hold NaN, which is neither above nor below anything")
    if isinstance(k, int) and not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k={k} must lie between 1 and the number of labels, {scores.shape[1]}")
    if isinstance(k, Tensor) and (k.shape != scores.shape[:1] or bool((k < 0).any())):
        raise ValueError(f"k must be one number for each of {len(scores)} queries, not negative")
