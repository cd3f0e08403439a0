"""Closeness of the views of a class to each other, and of the class's features to a centre.

Source: Huang et al., "Towards the Generalization of Contrastive Self-Supervised Learning" (2021), arXiv 2111.00743.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

PAPERS = {"augmentation-concentration": ("augmented_distance", "centres", "clique", "concentration")}

MOST = 256
"""Examples of one class that are compared."""
_ROWS = 2048
"""Views of which the distances to all others of the class are held at once."""


def augmented_distance(views: Float[Tensor, "n M p"]) -> Float[Tensor, "n n"]:
    """Return d_A: the least Euclidean distance between views of two examples, 0 on the diagonal.

    The minimum over M views each is an upper bound of the minimum over all of them. It falls with M and
    depends on the number of pixels: compare sets of augmentations at the same M and the same pictures. Meant
    for the examples of one class.

    Args:
        views: M views of each of n examples, as vectors of pixels.

    >>> augmented_distance(torch.tensor([[[0.0], [5.0]], [[1.0], [9.0]]]))
    tensor([[0., 1.],
            [1., 0.]])
    """
    n, m, _ = views.shape
    flat = views.flatten(0, 1)
    step = max(_ROWS // m, 1)
    parts = []
    for start in range(0, n, step):
        rows = views[start : start + step].flatten(0, 1)
        distances = torch.cdist(rows, flat).reshape(-1, m, n, m)
        parts.append(distances.amin(dim=(1, 3)))
    matrix = torch.cat(parts) if parts else flat.new_zeros(0, 0)
    return matrix.fill_diagonal_(0.0)


def clique(near: Bool[Tensor, "n n"]) -> int:
    """Return the size of a large set of examples that are all near each other, found greedily: a lower bound.

    Examples enter by falling number of neighbours if they are near all that are in.

    >>> clique(torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 1, 1]]).bool())
    3
    """
    members: list[int] = []
    for candidate in near.sum(1).argsort(descending=True, stable=True).tolist():
        if bool(near[candidate, members].all()):
            members.append(candidate)
    return len(members)


@dataclass(frozen=True)
class Concentration:
    """The (σ, δ) curve of a set of augmentations; means over classes.

    Attributes:
        deltas: δ.
        sigma: for each, the share of a class that a clique of examples within δ of each other holds: a lower
            bound, found greedily.
        star: the share within δ of one example: an upper bound of the same.
        distance: the mean d_A of two examples of a class.
    """

    deltas: tuple[float, ...]
    sigma: tuple[float, ...]
    star: tuple[float, ...]
    distance: float


def concentration(
    views: Float[Tensor, "n M p"], labels: Int[Tensor, " n"], deltas: Sequence[float] | None = None
) -> Concentration:
    """Measure how concentrated each class is under a set of augmentations: larger σ at the same δ is sharper.

        d_A(x, x') = min over views a of x and b of x' of ‖a − b‖
        σ(δ) = mean over classes C of max { |K| : K ⊆ C, d_A(x, x') ≤ δ for x, x' in K } / |C|

    A (σ, δ)-augmentation has in every class a main part of at least σ whose examples are pairwise within δ
    in `augmented_distance`. Finding the largest such part is hard, so two bounds are given. Labels serve the
    analysis alone.

    Args:
        views: M views of each of n examples, as vectors of pixels.
        labels: the class of each; below 0 for none. At most 256 of a class, the first, are compared.
        deltas: which δ; unless given, the 5, 25, 50, 75 and 95 % quantiles of all d_A within classes.

    Raises:
        ValueError: if there is not one label per example, or no class has two examples.

    >>> views = torch.tensor([[[0.0]], [[1.0]], [[9.0]]])
    >>> found = concentration(views, torch.tensor([0, 0, 0]), deltas=[2.0])
    >>> [round(s, 3) for s in (*found.sigma, *found.star)]
    [0.667, 0.667]
    """
    if labels.shape != views.shape[:1]:
        raise ValueError(
            f"labels must be one for each of {len(views)} examples, got shape {tuple(labels.shape)}"
        )
    classes = [labels == c for c in torch.unique(labels) if c >= 0]
    distances = [augmented_distance(views[which][:MOST]) for which in classes if int(which.sum()) > 1]
    if not distances:
        raise ValueError("no class has two examples, so there is no distance within a class")
    off = torch.cat([d[~torch.eye(len(d), dtype=torch.bool, device=d.device)] for d in distances])
    if deltas is None:
        levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=off.dtype, device=off.device)
        deltas = off[:: max(len(off) // 2**20, 1)].quantile(levels).tolist()
    shares = [[clique(d <= delta) / len(d) for d in distances] for delta in deltas]
    stars = [[int((d <= delta).sum(1).max()) / len(d) for d in distances] for delta in deltas]
    return Concentration(
        tuple(deltas),
        tuple(sum(s) / len(s) for s in shares),
        tuple(sum(s) / len(s) for s in stars),
        sum(float(d.sum()) / (len(d) * (len(d) - 1)) for d in distances) / len(distances),
    )


@dataclass(frozen=True)
class Centres:
    """Numbers on how features of augmented views gather around the centres of their classes.

    Attributes:
        alignment: ``E ‖f(x₁) − f(x₂)‖²`` over two views of one example.
        spread: Δ_μ = 1 − min_k ‖μ_k‖², 0 where every class is one point.
        divergence: the largest cosine-like product μ_k · μ_l of two classes; lower: further apart. NaN for one
            class.
        scattered: R_ε, the share of examples of which two views are further apart than ε.
        error: of the classifier that takes the nearest centre, over all views.
    """

    alignment: float
    spread: float
    divergence: float
    scattered: float
    error: float


def centres(z: Float[Tensor, "n M d"], labels: Int[Tensor, " n"], epsilon: float = 0.5) -> Centres:
    """Measure the terms of the paper's bound on the error; order relations hold where the bound is vacuous.

    Args:
        z: features of M views of each of n examples; made unit-norm here (the paper's r is 1). Centres are
            those of the views.
        labels: the class of each example; below 0 for none, which are left out.
        epsilon: ε of R_ε.

    Raises:
        ValueError: if there is not one label per example, no example has one, or there is one view only.

    >>> z = torch.eye(2)[:, None].expand(2, 3, 2)
    >>> centres(z, torch.tensor([0, 1]))
    Centres(alignment=0.0, spread=0.0, divergence=0.0, scattered=0.0, error=0.0)
    """
    if labels.shape != z.shape[:1] or not (labels >= 0).any() or z.shape[1] < 2:
        raise ValueError(
            f"centres needs a label for each of {len(z)} examples, one of which is at least 0, and two views of each; "
            f"got labels of shape {tuple(labels.shape)} and features of shape {tuple(z.shape)}"
        )
    kept = labels >= 0
    z, labels = F.normalize(z[kept].double(), dim=-1), labels[kept]
    classes, which = torch.unique(labels, return_inverse=True)
    counts = torch.bincount(which).double()
    means = torch.zeros(len(classes), z.shape[2], dtype=z.dtype, device=z.device)
    means = means.index_add_(0, which, z.mean(1)) / counts[:, None]
    m = z.shape[1]
    # Over the pairs of M unit vectors, Σ ‖a − b‖² is 2 (M² − ‖Σ a‖²) / (M (M − 1)).
    alignment = 2 * (m * m - z.sum(1).square().sum(1)) / (m * (m - 1))
    widest = torch.stack([torch.cdist(part, part).amax() for part in z])
    nearest = torch.cdist(z.flatten(0, 1), means).argmin(1).reshape(-1, m)
    products = means @ means.T
    products.fill_diagonal_(-math.inf)
    return Centres(
        round(float(alignment.mean()), 12),
        round(1 - float(means.square().sum(1).min()), 12),
        float(products.max()) if len(classes) > 1 else math.nan,
        float((widest > epsilon).double().mean()),
        float((nearest != which[:, None]).double().mean()),
    )
