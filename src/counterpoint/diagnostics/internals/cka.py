"""The likeness of two layers' representations of the same examples, whatever the directions that the layers use.

Source: Nguyen, Raghu and Kornblith, "Do Wide and Deep Networks Learn the Same Things?" (2021), arXiv 2010.15327, as
in teaching-matters (arXiv 2212.03862).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

PAPERS = {"teaching-matters": ("CKA",)}

LEAST = 4
"""Examples that a batch must have for the unbiased estimator."""


def hsic(k: Float[Tensor, "*i n n"], m: Float[Tensor, "*j n n"]) -> Float[Tensor, "*ij"]:
    """Return the unbiased estimator of the Hilbert–Schmidt independence criterion of Gram matrices without diagonals.

        [tr(KM) + (1ᵀK1)(1ᵀM1) / ((n−1)(n−2)) − 2/(n−2) 1ᵀKM1] / (n(n−3))

    Gram matrices are symmetric, and their diagonals must be 0. Leading axes broadcast.

    Source: Song et al., "Feature Selection via Dependence Maximization" (2012).
    """
    n = k.shape[-1]
    rows_k, rows_m = k.sum(-1), m.sum(-1)
    trace = (k * m).sum((-2, -1))
    totals = rows_k.sum(-1) * rows_m.sum(-1) / ((n - 1) * (n - 2))
    cross = (rows_k * rows_m).sum(-1) * 2 / (n - 2)
    return (trace + totals - cross) / (n * (n - 3))


class CKA:
    """Centred kernel alignment of every layer of one network with every layer of another, by batches.

        CKA = mean HSIC(K, M) / √(mean HSIC(K, K) · mean HSIC(M, M)),     K = X Xᵀ, M = Y Yᵀ without diagonals

    Means are over batches, so that only Gram matrices of a batch are ever formed. 1 for features that are
    rotated or scaled; about 0 for unrelated ones, where the estimate may be slightly negative.

    >>> x = torch.randn(32, 5, generator=torch.Generator().manual_seed(0)).double()
    >>> rotation = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1)).double()).Q
    >>> round(CKA().update([x], [3 * x @ rotation]).value().item(), 9)
    1.0
    """

    def __init__(self) -> None:
        self._cross: list[Tensor] = []
        self._self_hsic: tuple[list[Tensor], list[Tensor]] = ([], [])

    def update(self, xs: Sequence[Tensor], ys: Sequence[Tensor]) -> CKA:
        """Add a batch: the features of each layer, ``(n, ...)``, which are flattened.

        Raises:
            ValueError: if the batch has fewer than 4 examples, or not as many in every layer.
        """
        sizes = {len(z) for z in (*xs, *ys)}
        if len(sizes) != 1 or min(sizes) < LEAST:
            raise ValueError(
                f"every layer needs the features of the same examples, {LEAST} at least; got {sorted(sizes)}"
            )
        k, m = (torch.stack([_gram(z) for z in side]) for side in (xs, ys))
        self._cross.append(hsic(k[:, None], m[None]))
        for sums, grams in zip(self._self_hsic, (k, m), strict=True):
            sums.append(hsic(grams, grams))
        return self

    def value(self) -> Float[Tensor, "layers others"]:
        """Return the alignment of each pair of layers; NaN where one of them is constant."""
        self_x, self_y = (torch.stack(sums).mean(0) for sums in self._self_hsic)
        scale = (self_x[:, None] * self_y[None]).clamp_min(0).sqrt()
        cross = torch.stack(self._cross).mean(0)
        return torch.where(scale > 0, cross / scale.masked_fill(scale == 0, 1.0), torch.nan)


def _gram(z: Tensor) -> Float[Tensor, "n n"]:
    flat = z.flatten(1).double()
    flat = flat - flat.mean(
        0
    )  # changes nothing but rounding: the estimator is blind to row and column constants
    gram = flat @ flat.T
    return gram.fill_diagonal_(0.0)
