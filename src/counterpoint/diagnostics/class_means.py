"""The means of classes: how near they are to an orthogonal frame or a simplex, and what is left within a class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

PAPERS = {"scl-relu": ("mean_cosine", "orthogonal_frame", "simplex", "within_class_variation")}

BLOCK = 1024


def orthogonal_frame(z: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> float:
    """Measure how far class means are from an orthogonal frame: ``‖G/‖G‖ − I/‖I‖‖`` in the Frobenius norm.

    G holds the inner products of the k means, which are *not* centred. 0 where they are orthogonal and of equal length,
    as supervised contrast makes features that cannot be negative, whatever the imbalance; at most √2. NaN for fewer
    than two classes. With fewer dimensions than classes it cannot be 0.

    Args:
        z: embeddings; made unit-norm here.
        labels: the class of each; items below 0 have none and are left out.

    Raises:
        ValueError: if there is not one label for each row.

    Source: Kini et al. (2023), arXiv 2306.07960.

    >>> orthogonal_frame(torch.eye(3), torch.arange(3))
    0.0
    """
    means = _means(z, labels)
    return _distance(means, torch.eye(len(means), dtype=torch.float64)) if len(means) > 1 else math.nan


def simplex(z: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> float:
    """Measure how far class means are from a simplex around 0, all of whose cosines are −1/(k − 1).

    As `orthogonal_frame`, with the simplex's inner products ``I − 1/k``; means are not centred here either. Supervised
    contrast and cross-entropy make balanced classes a simplex (neural collapse).

    Source: Kini et al. (2023), arXiv 2306.07960; Papyan, Han and Donoho, "Prevalence of Neural Collapse during the
    Terminal Phase of Deep Learning Training" (2020), arXiv 2008.08186.

    >>> round(simplex(torch.tensor([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]]), torch.arange(3)), 6)
    0.0
    """
    means = _means(z, labels)
    k = len(means)
    return _distance(means, torch.eye(k, dtype=torch.float64) - 1 / k) if k > 1 else math.nan


def within_class_variation(z: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> float:
    """Measure what is left within classes: ``trace(S_W S_B⁺)/k``, 0 where every class is one point (collapse).

    S_W is the covariance within classes and S_B that of their means, both over classes of equal weight. NaN for fewer
    than two classes.

    Args:
        z: embeddings; made unit-norm here.
        labels: the class of each; items below 0 have none and are left out.

    Raises:
        ValueError: if there is not one label for each row.

    Source: Kini et al. (2023), arXiv 2306.07960, its β_NC; Papyan, Han and Donoho (2020), as NC1.

    >>> within_class_variation(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]))
    0.0
    """
    means, (x, which, counts) = _means(z, labels), _classes(z, labels)
    k = len(means)
    if k < 2:
        return math.nan
    centred = (x - means[which]) / (counts[which, None] * k).sqrt()
    between = (means - means.mean(0)) / math.sqrt(k)
    # In the k − 1 directions in which means differ, S_B is diagonal: no d × d matrix is formed.
    _, lengths, axes = torch.linalg.svd(between, full_matrices=False)
    kept = lengths > 1e-9 * max(float(lengths[0]), 1e-300)
    if not kept.any():
        return math.inf if float(centred.square().sum()) > 0 else math.nan
    return float(((centred @ axes[kept].T) / lengths[kept]).square().sum()) / k


def class_cosines(z: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, " pairs"]:
    """Return the cosine of every pair of class means."""
    means = F.normalize(_means(z, labels), dim=-1)
    one, other = torch.triu_indices(len(means), len(means), 1)
    return (means @ means.T)[one, other]


def mean_cosine(z: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> float:
    """Compute the mean of ``|cos(μ_c, μ_c')|`` over pairs of class means, 0 where they are orthogonal; NaN without one.

    >>> mean_cosine(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 1]))
    1.0
    """
    return float(class_cosines(z, labels).abs().mean())


def utilization(queries: Float[Tensor, "n d"], known: Float[Tensor, "m d"]) -> float:
    """Measure how well training explored where queries lie: ``mean_q min_x ‖q − x‖²``, in [0, 4]; lower is better.

    Computed in blocks of queries. NaN where there are no queries, or nothing is known.

    Args:
        queries: embeddings of test examples, of classes that training has not seen, say; made unit-norm here.
        known: embeddings of training examples, and of mixtures of them where a method makes some; made unit-norm.

    Source: metrix (Venkataramanan et al. 2022).

    >>> utilization(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 0.0]]))
    1.0
    """
    if not len(queries) or not len(known):
        return math.nan
    q, x = (F.normalize(side.double(), dim=-1) for side in (queries, known))
    nearest = torch.cat([(part @ x.T).amax(1) for part in torch.split(q, BLOCK)])
    return float((2 - 2 * nearest).clamp(min=0).mean())


def _classes(
    z: Float[Tensor, "n d"], labels: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "m d"], Int[Tensor, " m"], Float[Tensor, " k"]]:
    """Return unit-norm embeddings that have a class, the number of it among those that occur, and their counts."""
    if labels.shape != z.shape[:1]:
        raise ValueError(f"labels must be one for each of {len(z)} rows, got shape {tuple(labels.shape)}")
    kept = labels >= 0
    _, which, counts = torch.unique(labels[kept], return_inverse=True, return_counts=True)
    return F.normalize(z[kept].double(), dim=-1), which, counts.double()


def _means(z: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, "k d"]:
    """Return the mean of each class of unit-norm embeddings."""
    x, which, counts = _classes(z, labels)
    return x.new_zeros(len(counts), x.shape[1]).index_add_(0, which, x) / counts[:, None]


def _distance(means: Float[Tensor, "k d"], frame: Float[Tensor, "k k"]) -> float:
    products, frame = means @ means.T, frame.to(means)
    scale = products.norm()
    return float((products / scale - frame / frame.norm()).norm()) if scale > 0 else math.nan
