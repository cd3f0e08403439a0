"""Distribution-balanced loss: a sigmoid for every tag, in which rare tags count more and easy ones less."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import Finite, NonNegative, Positive
from ..pairwise.inputs import softplus
from ..pairwise.reductions import Reduction, Sum
from ..pairwise.tile import Tile
from ._checks import check_tags
from ._class_scores import ClassLoss, columns_of, matched
from ._labels import of_tile

_RAREST = 1e-6
"""The frequency of a tag is at least this, and at most 1 less this, so that its logit is finite."""


class DistributionBalancedLoss(ClassLoss):
    """Each tag of each example is a question of its own, weighted by how rare the tag is among the example's tags.

        r_ic = (1 / f_c) / Σ_{k ∈ P_i} (1 / f_k),   w_ic = α + σ(β (r_ic − μ)),   ν_c = −κ ln(1 / f_c − 1) / λ
        loss = b mean_i Σ_c w_ic (1 − p_ic)^γ (−log p_ic)            p_ic = σ(s_ic + ν_c) of tags that apply,
        with w_ic / λ in place of w_ic and                           p_ic = σ(−λ (s_ic + ν_c)) of others,

    where ``s_ic = <z_i, w_c> + b_c`` and f_c is the share of examples that have tag c. The sum over tags and the mean
    over examples; the published code takes the mean over both. An example without a tag has w = α + 1, the limit of its
    formula. The focusing factor is of each tag, and has a gradient. With α = ½, b = λ = 1 and β = κ = γ = 0 it is
    `BCELoss`.

    Args:
        alpha: α, the least weight.
        beta: β, the slope of the weight.
        mu: μ, the r at which a weight is α + ½; 0.2 for COCO-LT, 0.3 for VOC-LT.
        kappa: κ, of the shift by frequency.
        negative_scale: λ; 2 for COCO-LT, 5 for VOC-LT.
        gamma: γ.
        balance: b, the factor before the loss.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Wu et al., "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets" (2020), arXiv
    2007.09654, with the constants of Xia et al., "LMPT: Prompt Tuning with Class-Specific Embedding Loss for
    Long-tailed Multi-Label Visual Recognition" (2023), arXiv 2305.04536.

    >>> w, even = torch.eye(2), torch.tensor([0.5, 0.5])   # r = 1 of both tags, no shift
    >>> loss = DistributionBalancedLoss(negative_scale=1.0, gamma=0.0, balance=1.0)
    >>> round(loss(w[:1], w, even, targets=torch.tensor([[True, False]])).item(), 4)
    1.1067
    """

    family = "tags"
    papers = ("lmpt",)

    def __init__(
        self,
        alpha: NonNegative = 0.1,
        beta: NonNegative = 10.0,
        mu: Finite = 0.2,
        *,
        kappa: NonNegative = 0.05,
        negative_scale: Positive = 2.0,
        gamma: NonNegative = 2.0,
        balance: Positive = 2.0,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.mu, self.kappa = alpha, beta, mu, kappa
        self.negative_scale, self.gamma, self.balance = negative_scale, gamma, balance

    def forward(
        self,
        z: Float[Tensor, "B d"],
        bank: Float[Tensor, "C d"],
        frequency: Float[Tensor, " C"],
        bias: Float[Tensor, " C"] | None = None,
        *,
        targets: Bool[Tensor, "B C"],
        known: Bool[Tensor, "B C"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of examples and tag vectors.

        Args:
            z: the examples.
            bank: w, the same on every rank.
            frequency: f, the share of training examples that have each tag.
            bias: b of the logits; none unless given.
            targets: the tags that an example has, P.
            known: the tags of which that is known; all unless given. An example of which nothing is known counts for
                nothing.
        """
        z, bank = matched(z, bank, bias)
        masks = {"targets": targets} if known is None else {"targets": targets, "known": known}
        check_tags(z, bank, **masks)
        frequency = frequency.to(bank).clamp(_RAREST, 1 - _RAREST)
        shift = -self.kappa * (1 / frequency - 1).log() / self.negative_scale
        own = torch.where(targets if known is None else targets & known, 1 / frequency, 0.0).sum(1)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            s = tile.dot() + tile.column.shift
            s = s if bias is None else s + tile.column.bias
            true, certain = of_tile("targets", tile), of_tile("known", tile)
            assert true is not None
            r = 1 / (tile.column.frequency * tile.row.own[:, None].clamp_min(1e-12))
            weight = self.alpha + (self.beta * (r - self.mu)).sigmoid()
            cost = torch.where(true, softplus(-s), softplus(self.negative_scale * s))
            weight = torch.where(true, weight, weight / self.negative_scale)
            # 1 − p of p = exp(−cost); not quite 0, where a power below 1 has no gradient.
            rest = (-torch.expm1(-cost)).clamp_min(torch.finfo(s.dtype).tiny)
            costs = self.balance * weight * rest**self.gamma * cost
            return {"row": {"tags": Sum(costs if certain is None else costs.masked_fill(~certain, 0.0))}}

        columns = {**columns_of(bank, bias), "shift": shift, "frequency": frequency}
        r = self.reduce(terms, rows={"z": z, "own": own, **masks}, columns=columns, same_columns=True)
        any_known = torch.ones_like(r.row.tags) if known is None else known.any(1).to(r.row.tags)
        return self.mean(r.row.tags, any_known)
