"""Whitening of features in groups of channels."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count, Positive
from ..pairwise import guard, moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..ranges import Checked

PAPERS = {"whitened-cse": ("GroupWhitening",)}


class GroupWhitening(Checked, nn.Module):
    """Zero mean and unit covariance within each group of channels, over the batch: ZCA, group by group.

        x_g ← (x_g − mean x_g) (C_g + ε)^(−1/2),    C_g = (1/N) Σ_i (x_ig − mean x_g)(x_ig − mean x_g)ᵀ

    A permutation of the channels decides which share a group, and is undone afterwards: another permutation
    is another distortion of the same features. Groups of one channel are plain standardisation, one group is
    full whitening. N, the examples of all ranks, should be at least twice the size of a group; with fewer
    the group stays short of full rank, and ε keeps its missing directions at 0.

    There are batch statistics and no others: a head for training, to be left off afterwards.

    Args:
        width: D, the number of channels.
        groups: G; divides D.
        eps: ε > 0.
        detach: whether the whitening matrix carries no gradient, which is the released code's way; with
            gradient, it stays finite where eigenvalues coincide.

    Raises:
        ValueError: where G does not divide D, for an ε that is not positive, and for features or a
            permutation of another width.

    Source: Zhuo et al., "WhitenedCSE: Whitening-based Contrastive Learning of Sentence Embeddings" (2023),
    arXiv 2305.17746.

    >>> whitening, generator = GroupWhitening(6, groups=3), torch.Generator().manual_seed(0)
    >>> x = torch.randn(64, 6, generator=generator) * 3 + 1
    >>> shuffle = torch.randperm(6, generator=generator)
    >>> pair = whitening(x, shuffle)[:, shuffle[:2]]  # a group: unit variance, no correlation
    >>> (pair.T @ pair / 64).round(decimals=3).abs().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, width: Count, groups: Count, *, eps: Positive = 1e-5, detach: bool = True) -> None:
        super().__init__()
        if width % groups:
            raise ValueError(f"groups must divide the width of {width}, got {groups}")
        self.width, self.groups, self.eps, self.detach = width, groups, eps, detach

    def forward(
        self, features: Float[Tensor, "B D"], permutation: Int[Tensor, " D"] | None = None
    ) -> Float[Tensor, "B D"]:
        """Return whitened features; channels in their own order form the groups where no permutation is given."""
        if features.shape[-1] != self.width:
            raise ValueError(f"features must be of width={self.width}, got {features.shape[-1]}")
        if permutation is None:
            return self._whiten(upcast(features))
        if len(permutation) != self.width:
            raise ValueError(f"the permutation must be of the {self.width} channels, got {len(permutation)}")
        return self._whiten(upcast(features)[:, permutation])[:, permutation.argsort()]

    def _whiten(self, x: Tensor) -> Tensor:
        ranks, size = Ranks.present(), self.width // self.groups
        with torch.autocast(x.device.type, enabled=False):
            x = x - moments.mean(x, ranks=ranks)
            everything = moments.cross_moment(x, x, ranks=ranks)
            blocks = everything.view(self.groups, size, self.groups, size).diagonal(dim1=0, dim2=2)
            covariance = blocks.permute(2, 0, 1)
            if self.detach:
                covariance = covariance.detach()
            whitener: Tensor = _InverseRoot.apply(covariance, self.eps)  # type: ignore[no-untyped-call] # torch's
            grouped = x.reshape(-1, self.groups, size)
            return torch.einsum("bgi,gij->bgj", grouped, whitener).flatten(1)


class _InverseRoot(torch.autograd.Function):
    """``(C + ε)^(−1/2)`` of symmetric C ≥ 0.

    In the eigenbasis of C, with r = √(λ + ε), the derivative multiplies entry (i, j) by the divided difference
    of λ ↦ (λ + ε)^(−1/2), which is −1/(r_i r_j (r_i + r_j)): finite for equal eigenvalues, unlike the
    derivative of the eigenvectors.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, eps: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        # Rounding can bring the eigenvalues of a singular covariance below 0.
        root = (values.clamp_min(0) + eps).sqrt()
        ctx.save_for_backward(root, vectors)
        return (vectors / root[..., None, :]) @ vectors.mT

    @staticmethod
    @guard.first_order("take detach=True, which makes the whitening a constant")
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        root, vectors = ctx.saved_tensors
        one, other = root[..., :, None], root[..., None, :]
        inner = -(vectors.mT @ grad @ vectors) / (one * other * (one + other))
        return vectors @ inner @ vectors.mT, None
