"""The joint probability of two modalities as a matrix, and the subspaces that contrastive learning finds in it.

Source: Zhang et al., "On the Generalization of Multi-modal Contrastive Learning" (2023), arXiv 2306.04272.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

PAPERS = {"mmcl-generalization": ("induced_positives", "normalised", "principal_angles")}


def normalised(p: Float[Tensor, "V L"]) -> Float[Tensor, "V L"]:
    """Return ``Ã_vl = P(v, l) / √(P(v) P(l))``, whose largest singular value is 1.

    The spectral contrastive loss of embeddings F, G (each row times the root of its probability) is
    ``‖Ã − F Gᵀ‖² − ‖Ã‖²``, so that its minimum spans the first singular vectors of Ã.

    Args:
        p: P, the probability (or count) of every image v with every text l; made to sum to 1 here.

    Raises:
        ValueError: if an entry is negative or not finite, or a row or a column is all 0.

    >>> normalised(torch.tensor([[1.0, 1.0], [0.0, 2.0]])).round(decimals=4).tolist()
    [[0.7071, 0.4082], [0.0, 0.8165]]
    """
    p = _joint(p)
    return p / (p.sum(1, keepdim=True) * p.sum(0, keepdim=True)).sqrt()


def induced_positives(p: Float[Tensor, "V L"]) -> Float[Tensor, "V V"]:
    """Return ``P_T(v, v') = Σ_l P(l) P(v|l) P(v'|l)``: how often two images meet through a text that both have.

    Its own `normalised` matrix is Ã Ãᵀ: contrasting images with texts, and images with images of the same
    text, find the same subspace.

    Args:
        p: as of `normalised`.

    Raises:
        ValueError: as of `normalised`.

    >>> induced_positives(torch.tensor([[1.0, 1.0], [0.0, 2.0]])).round(decimals=4).tolist()
    [[0.3333, 0.1667], [0.1667, 0.3333]]
    """
    p = _joint(p)
    return (p / p.sum(0, keepdim=True)) @ p.T


def principal_angles(a: Float[Tensor, "n k"], b: Float[Tensor, "n m"]) -> Float[Tensor, " j"]:
    """Return the min(k, m) angles between the spaces that the columns of a and b span, in radians, smallest first.

    All are 0 where one space holds the other. Columns must be independent.

    Raises:
        ValueError: if the columns differ in length, or are more than their length.

    Source: Björck and Golub, "Numerical Methods for Computing Angles Between Linear Subspaces" (1973).

    >>> principal_angles(torch.eye(3)[:, :1], torch.tensor([[1.0], [1.0], [0.0]])).rad2deg().round().tolist()
    [45.0]
    """
    if a.shape[0] != b.shape[0] or max(a.shape[1], b.shape[1]) > len(a):
        raise ValueError(
            f"principal_angles compares spaces of independent columns of one length; got {tuple(a.shape)} and "
            f"{tuple(b.shape)}"
        )
    if a.shape[1] < b.shape[1]:
        a, b = b, a
    q, r = (torch.linalg.qr(m.double()).Q for m in (a, b))
    inner = q.T @ r
    # The cosine alone is blind to small angles, the sine to those near π/2.
    cosines, sines = torch.linalg.svdvals(inner), torch.linalg.svdvals(r - q @ inner).flip(0)
    return torch.atan2(sines, cosines)


def _joint(p: Tensor) -> Tensor:
    p = p.double()
    if not p.isfinite().all() or (p < 0).any():
        raise ValueError("a joint probability must be finite and at least 0 everywhere")
    for name, dim in (("row", 1), ("column", 0)):
        empty = (p.sum(dim) == 0).nonzero()[:, 0].tolist()
        if empty:
            raise ValueError(f"{name} {empty[0]} of the joint probability is all 0: leave it out first")
    return p / p.sum()
