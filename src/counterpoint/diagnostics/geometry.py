"""Numbers about the shape of one cloud of embeddings, or of two matched ones."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

PAPERS = {"align-uniform": ("alignment", "uniformity"), "contrastive-loss-behaviour": ("tolerance",)}

BLOCK = 1024


def alignment(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], alpha: float = 2.0) -> float:
    """Measure how far matched embeddings are apart: ``mean_i ||x_i − y_i||^alpha``, in [0, 2^alpha]; 0 is best.

    Args:
        x, y: two views of the same items, row by row; made unit-norm here.
        alpha: the exponent, 2 in the paper.

    Raises:
        ValueError: if there is no row, or the shapes differ.

    Source: align-uniform (Wang & Isola 2020).

    >>> round(alignment(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0]])), 6)
    2.0
    """
    if x.shape != y.shape or not len(x):
        raise ValueError(
            f"alignment compares matched rows; got shapes {tuple(x.shape)} and {tuple(y.shape)}, "
            f"which must be equal and have at least one row"
        )
    distances = (F.normalize(x.double(), dim=-1) - F.normalize(y.double(), dim=-1)).norm(dim=-1)
    return float(distances.pow(alpha).mean())


def uniformity(z: Float[Tensor, "n d"], t: float = 2.0) -> float:
    """Measure how evenly embeddings cover the sphere: ``log mean_{i≠j} exp(−t ||z_i − z_j||²)``; lower is more even.

    0 if all are the same; about −2t for many points spread evenly over a sphere of high dimension (−4 + 8/d
    at t = 2). Computed in blocks of rows, so that memory grows with n and not with n². NaN for fewer than two
    rows, where there is no pair.

    Args:
        z: embeddings; made unit-norm here.
        t: the scale, 2 in the paper.

    Source: align-uniform (Wang & Isola 2020).

    >>> uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    -8.0
    """
    n = len(z)
    if n < 2:
        return math.nan
    z = F.normalize(z.double(), dim=-1)
    parts = []
    for start in range(0, n, BLOCK):
        exponents = 2 * t * (z[start : start + BLOCK] @ z.T) - 2 * t
        exponents.diagonal(start).fill_(-math.inf)
        parts.append(exponents.logsumexp(dim=(0, 1)))
    return float(torch.stack(parts).logsumexp(0)) - math.log(n * (n - 1))


def tolerance(z: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> float:
    """Measure how close items of one class are: the mean cosine over pairs i ≠ j of equal label, in [−1, 1].

    Uniformity and tolerance pull apart: a collapsed model has the best tolerance, 1, and the worst uniformity,
    so show both. The paper's formula also multiplies by the share of pairs that are of one class; the mean
    over those pairs alone compares across data sets. Computed from the sum of each class, without a matrix.
    NaN where no two items share a class.

    Args:
        z: embeddings; made unit-norm here.
        labels: the class of each; items below 0 have none and are left out.

    Raises:
        ValueError: if there is not one label for each row.

    Source: contrastive-loss-behaviour (Wang & Liu 2021).

    >>> z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    >>> tolerance(z, torch.tensor([0, 0, 1, 1]))
    0.5
    """
    if labels.shape != z.shape[:1]:
        raise ValueError(f"labels must be one for each of {len(z)} rows, got shape {tuple(labels.shape)}")
    z, labels = z[labels >= 0], labels[labels >= 0]
    classes, which, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    pairs = int((counts * (counts - 1)).sum())
    if not pairs:
        return math.nan
    sums = z.new_zeros(len(classes), z.shape[1], dtype=torch.float64)
    sums.index_add_(0, which, F.normalize(z.double(), dim=-1))
    # ‖Σ z_i‖² is the sum of all cosines within a class, n of which are of an item with itself.
    return float((sums.square().sum(1) - counts)[counts > 1].sum()) / pairs


def effective_rank(z: Float[Tensor, "n d"]) -> float:
    """Compute in how many directions embeddings spread: ``exp(H(p))``, ``p`` the singular values over their sum.

    Between 1 (all on one line through the origin) and min(n, d). The embeddings are taken as they are, not
    centred. NaN without rows or where all are zero.

    Source: Roy & Vetterli 2007, "The effective rank"; as a measure of collapse, Garrido et al. 2023 (RankMe).

    >>> round(effective_rank(torch.eye(5)), 6)
    5.0
    """
    if not len(z):
        return math.nan
    values = torch.linalg.svdvals(z.double())
    p = values / values.sum()
    return float(torch.special.entr(p).sum().exp())


def explained_variance(z: Float[Tensor, "n d"]) -> Float[Tensor, " k"]:
    """Return the fraction of the variance that the first 1, 2, … principal components explain, ``(min(n, d),)``.

    NaN where there is no variance.

    >>> explained_variance(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])).tolist()
    [0.8, 1.0]
    """
    variances = torch.linalg.svdvals(z.double() - z.double().mean(0)).square()
    return variances.cumsum(0) / variances.sum()


def components(z: Float[Tensor, "n d"], fraction: float = 0.99) -> float:
    """Count the principal components that explain this fraction of the variance; NaN where there is no variance.

    Source: contrastive-gap, where it is low for CLIP.
    """
    explained = explained_variance(z)
    if not len(explained) or explained.isnan().any():
        return math.nan
    return float((explained < fraction - 1e-12).sum() + 1)


def std_per_dimension(z: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """Return the standard deviation of each coordinate of the unit-norm embeddings; about 1/√d if well spread."""
    return F.normalize(z.double(), dim=-1).std(0, correction=0)


def collapse_warning(z: Float[Tensor, "n d"]) -> str | None:
    """Say in one sentence what is wrong with a batch of embeddings that has collapsed; return None if it has not.

    It warns where the deviation per dimension of the unit-norm embeddings is below a tenth of 1/√d (all but
    one point), where their effective rank is below 1.5 (all but one line), and where they are not finite.
    Fewer than 8 rows say nothing. Cheap enough to call while training.

    Source: the collapse check of SimSiam (Chen & He 2021), as in clip-rocket; effective rank.

    >>> collapse_warning(torch.ones(32, 16))
    'collapsed to a point: the deviation per dimension is 0.00 of the healthy 1/√16'
    >>> collapse_warning(torch.eye(16)) is None
    True
    """
    n, d = z.shape
    if n < 8 or d < 2:
        return None
    z = z.detach()
    if not torch.isfinite(z).all():
        return "embeddings are NaN or infinite"
    spread = float(std_per_dimension(z).mean()) * math.sqrt(d)
    if spread < 0.1:
        return f"collapsed to a point: the deviation per dimension is {spread:.2f} of the healthy 1/√{d}"
    rank = effective_rank(F.normalize(z, dim=-1))
    if rank < 1.5:
        return f"collapsed to a line: the effective rank is {rank:.2f} of {min(n, d)}"
    return None
