"""Uniformity of the centroids of views, which aligns the views by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..pairwise import moments
from ..pairwise.inputs import paired_views
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.tile import Tile


class DecoupledUniformityLoss(PairwiseLoss):
    """The mean of an example's views is driven away from the means of the others.

        μ_i = (1/V) Σ_v z_i^v,   loss = log mean_{i ≠ j} exp(−t ‖μ_i − μ_j‖²)

    The centroid μ is not made unit-norm: it is longest, 1, where all views agree, and spreading centroids
    therefore aligns views (for two of them ‖μ‖² = 1 − ‖z¹ − z²‖²/4). No negative competes with a positive. A
    single view gives plain uniformity, without alignment.

    With a prior, features or attributes g_i that say which examples are alike, an example borrows the views of
    its likes: centroids are ``A μ`` with the constant ``A = (K + λI)⁻¹ K``, K the kernel of all g_i and g_j.
    This solves one dense system of the whole batch, on every rank: O(N²) memory and O(N³) time, where the plain
    loss works in tiles. A very narrow kernel (K = I) gives the plain loss of centroids shrunk by 1/(1 + λ); a very
    wide one makes all centroids equal, and the gradient vanishes.

    A batch of one has no pairs: the loss is 0.

    Args:
        t: > 0; 2 in the authors' code, 1 in the paper's notation.
        kernel: of the prior: ``rbf``, exp(−‖g − g'‖²/(2σ²)), or ``cosine``.
        sigma: σ > 0 of ``rbf``, on the scale of the prior; None is the median distance of two examples of the
            batch.
        ridge: λ > 0; where priors repeat, it alone makes the system solvable.

    Raises:
        ValueError: for an option out of its range, no view, views that do not match, or a prior that is not one
            finite row per example.

    Source: Dufumier et al., "Integrating Prior Knowledge in Contrastive Learning with Kernel" (2022), arXiv
    2206.01646.

    >>> x = torch.eye(2)                              # two centroids at squared distance 2: -2 * 2
    >>> DecoupledUniformityLoss()(x, x).item()
    -4.0
    """

    family = "alignment and uniformity"
    is_method = True
    symmetric = True
    many_views = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"t": (0.5, 8.0)}
    papers = ("decoupled-uniformity",)

    def __init__(
        self,
        t: Positive = 2.0,
        *,
        kernel: Literal["rbf", "cosine"] = "rbf",
        sigma: Positive | None = None,
        ridge: Positive = 0.01,
    ) -> None:
        super().__init__()
        self.t, self.kernel, self.sigma, self.ridge = t, kernel, sigma, ridge

    def forward(self, *views: Float[Tensor, "B d"], prior: Tensor | None = None) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views of the same examples, with a prior ``(B, ...)`` or without."""
        views = paired_views(views, least=1)
        mu = sum(views[1:], views[0]) / len(views)
        n = self.count(mu)
        if n == 1:
            return mu.sum() * 0.0  # 0 that can be differentiated
        if prior is not None:
            mu = self._smoothed(mu, prior)

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            return {"total": {"pairs": LogSumExp(tile.off_diagonal(-self.t * tile.squared_distance()))}}

        total: Tensor = self.reduce(terms, rows={"z": mu}, columns={"z": mu}).total.pairs
        return total - math.log(n * (n - 1))

    def _smoothed(self, mu: Tensor, prior: Tensor) -> Tensor:
        """Return this rank's rows of ``A μ``."""
        if len(prior) != len(mu):
            raise ValueError(f"the prior must have a row per example, {len(mu)}, got {len(prior)}")
        # In float64: the condition number of K + λI reaches N / λ.
        local = prior.detach().double().reshape(len(prior), math.prod(prior.shape[1:]))
        if not local.isfinite().all():
            raise ValueError("the prior has NaN or infinite values: fill them, or leave these examples out")
        k = self._kernel(self.ranks.gather(local, self.ranks.counts(len(local), local.device)))
        a = torch.linalg.solve(k + self.ridge * torch.eye(len(k), dtype=k.dtype, device=k.device), k)
        index = self.index(mu)
        # Σ_i A_ji μ_i over the examples of all ranks is N times a cross-moment of A's columns with μ.
        smoothed = len(k) * moments.cross_moment(a[:, index].T.to(mu.dtype), mu, ranks=self.ranks)
        return smoothed[index]

    def _kernel(self, g: Float[Tensor, "N w"]) -> Float[Tensor, "N N"]:
        if self.kernel == "cosine":
            unit = F.normalize(g, dim=-1)
            return unit @ unit.T
        # Of differences: by products equal priors would be as far apart as rounding takes them.
        distance = torch.cdist(g, g, compute_mode="donot_use_mm_for_euclid_dist")
        sigma = self.sigma or F.pdist(g).median().clamp_min(1e-30)
        return (-0.5 * (distance / sigma).square()).exp()
