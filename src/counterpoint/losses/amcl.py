"""Adaptive multi-head contrast: several heads, and a temperature of its own for every pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, TopK
from ..pairwise.tile import NEG, Tile


class AMCLLoss(PairwiseLoss):
    """The ratio of the likelihoods of positive and negatives, per head, each pair under its own temperature.

    For an anchor a among the 2B views z = [x; y] of a head, its partner p and the 2B − 2 views n of others:

        l_a = −s_ap/τ_ap + β Ω(τ_ap) + log Σ_n exp(s_an/τ_an − β Ω(τ_an)),    s = <z_a, z_b>
        τ_ab = τ_min + (τ_max − τ_min) · sigmoid(−<φ(z_a), φ(z_b)>),    Ω(τ) = d′/2 · log τ + 1/τ

    and the loss is the sum over heads of the mean of l. φ is one small perceptron, learned with the rest and
    shared by the heads; a pair that it finds alike gets a low temperature. Ω is the normaliser of a Gaussian of
    variance τ. With β = 0 and a constant φ this is NT-Xent with the positive left out of the denominator.

    ``top_k`` gives the form of the released code instead: of the k negatives with the largest s, the mean of
    s/τ, less β times the sum of log τ + 1/τ. Nothing saturates in it, and it was seen to collapse.

    The value may be negative, and says nothing next to that of InfoNCE. A batch of one has no negatives: only
    the terms of the positive are left.

    Args:
        width: d′, of the heads' outputs.
        hidden: of φ.
        beta: β ≥ 0. Ω of negatives is rewarded, so that a large β drives their temperatures to τ_min.
        tau_min: τ_min > 0. The released code has 1e-5, where 1/τ dwarfs everything else; 0.05 is safe.
        tau_max: τ_max > τ_min.
        top_k: k; all negatives where there are fewer.

    Raises:
        ValueError: for sizes below 1, a negative β, temperatures out of order, no heads or another number of
            them on either side, heads of another width, or views that do not match.

    Source: Wang et al., "Adaptive Multi-head Contrastive Learning" (2024), arXiv 2310.05615.

    >>> loss = AMCLLoss(4, beta=0.0, tau_min=0.5, tau_max=1.5)
    >>> for parameter in loss.phi.parameters():
    ...     _ = nn.init.zeros_(parameter)             # every temperature is 1
    >>> x = torch.eye(4)                              # six negatives at 0, the positive at 1: log 6 − 1
    >>> round(loss([x], [x]).item(), 4)
    0.7918
    """

    family = "weighted"
    symmetric = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"beta": (1e-5, 1e-2)}
    papers = ("amcl",)

    def __init__(
        self,
        width: Count = 128,
        *,
        hidden: Count = 128,
        beta: NonNegative = 1e-4,
        tau_min: Positive = 0.05,
        tau_max: Positive = 2.0,
        top_k: Count | None = None,
    ) -> None:
        super().__init__()
        if not tau_min < tau_max:
            raise ValueError(f"tau_min must be less than tau_max, got {tau_min} and {tau_max}")
        self.width, self.beta, self.top_k = width, beta, top_k
        self.tau_min, self.tau_max = tau_min, tau_max
        self.phi = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(
        self, x_heads: Sequence[Float[Tensor, "B d"]], y_heads: Sequence[Float[Tensor, "B d"]]
    ) -> Float[Tensor, ""]:
        """Return the loss of two unit-norm views of the same examples, as C heads see each."""
        if len(x_heads) != len(y_heads) or not x_heads:
            raise ValueError(
                f"both views need the same heads, at least one, got {len(x_heads)} and {len(y_heads)}"
            )
        return torch.stack([self._head(x, y) for x, y in zip(x_heads, y_heads, strict=True)]).sum()

    def _head(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = paired(x=x, y=y)
        if x.shape[1] != self.width:
            raise ValueError(f"the heads must be of width={self.width}, got {x.shape[1]}")
        z, n = torch.cat([x, y]), len(x)
        with torch.autocast(z.device.type, enabled=False):
            key = self.phi(z)
        tau = self.adapted(dot(key, key.roll(n, 0)))
        positive = dot(z, z.roll(n, 0)) / tau - self.beta * self.normaliser(tau)
        others = self.count(z) - 2
        if others == 0:
            return -self.mean(positive)
        k = None if self.top_k is None else min(self.top_k, others)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            same = tile.same("item")
            s, tau = tile.dot(), self.adapted(tile.dot("key"))
            if k is None:
                likelihood = s / tau - self.beta * self.normaliser(tau)
                return {"row": {"negatives": LogSumExp(likelihood.masked_fill(same, NEG))}}
            hardest = s.masked_fill(same, NEG)
            return {
                "row": {
                    "score": TopK(hardest, k, s / tau),
                    "normaliser": TopK(hardest, k, tau.log() + 1 / tau),
                }
            }

        side = {"z": z, "key": key, "item": self.index(x).repeat(2)}
        r = self.reduce(terms, rows=side, columns=side).row
        if k is None:
            return self.mean(r.negatives - positive)
        hard = r.score.values.sum(1) / k - self.beta * r.normaliser.values.sum(1)
        return self.mean(hard - positive)

    def adapted(self, score: Tensor) -> Tensor:
        """Return τ of pairs whose φ have these inner products."""
        return self.tau_min + (self.tau_max - self.tau_min) * torch.sigmoid(-score)

    def normaliser(self, tau: Tensor) -> Tensor:
        """Return Ω(τ)."""
        return self.width / 2 * tau.log() + 1 / tau
