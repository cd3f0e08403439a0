"""A sigmoid for every tag, in which easy negatives count less than positives."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import BelowOne, NonNegative
from ..pairwise.inputs import softplus
from ..pairwise.reductions import Reduction, Sum
from ..pairwise.tile import Tile
from ._checks import check_tags
from ._class_scores import ClassLoss, columns_of, matched
from ._labels import of_tile


class AsymmetricLoss(ClassLoss):
    """Each tag of each example is a question of its own, focused on positives and on negatives that are not easy.

        loss = −mean_i [ Σ_{c ∈ P_i} (1 − p_ic)^γ₊ log p_ic + Σ_{c ∉ P_i} (p'_ic)^γ₋ log(1 − p'_ic) ]
        p_ic = σ(<z_i, w_c> + b_c),   p'_ic = max(p_ic − m, 0)

    The sum over tags and the mean over examples. Negatives of a probability below m cost nothing. The focusing weights
    have a gradient, as in the paper's formula. With γ₊ = γ₋ = m = 0 it is `BCELoss`.

    Args:
        gamma_positive: γ₊.
        gamma_negative: γ₋.
        margin: m.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Ridnik et al., "Asymmetric Loss For Multi-Label Classification" (2021), arXiv 2009.14119.

    >>> w = torch.eye(2)                              # p = σ(1) of a tag that is there, ½ of one that is not
    >>> true = torch.tensor([[True, False]])
    >>> round(AsymmetricLoss(1.0, 2.0, 0.0)(w[:1], w, targets=true).item(), 4)
    0.2575
    """

    family = "tags"
    papers = ("comic",)

    def __init__(
        self,
        gamma_positive: NonNegative = 1.0,
        gamma_negative: NonNegative = 4.0,
        margin: BelowOne = 0.05,
    ) -> None:
        super().__init__()
        self.gamma_positive, self.gamma_negative, self.margin = gamma_positive, gamma_negative, margin

    def forward(
        self,
        z: Float[Tensor, "B d"],
        bank: Float[Tensor, "C d"],
        bias: Float[Tensor, " C"] | None = None,
        *,
        targets: Bool[Tensor, "B C"],
        known: Bool[Tensor, "B C"] | None = None,
        weights: Float[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of examples and tag vectors.

        Args:
            z: the examples.
            bank: w, the same on every rank.
            bias: b; none unless given.
            targets: the tags that an example has, P.
            known: the tags of which that is known; all unless given. An example of which nothing is known counts for
                nothing.
            weights: of the examples, ≥ 0; all alike unless given.
        """
        z, bank = matched(z, bank, bias)
        masks = {"targets": targets} if known is None else {"targets": targets, "known": known}
        check_tags(z, bank, **masks)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            s = tile.dot() if bias is None else tile.dot() + tile.column.bias
            true, there = of_tile("targets", tile), of_tile("known", tile)
            assert true is not None
            costs = torch.where(true, self.positive(s), self.negative(s))
            return {"row": {"tags": Sum(costs if there is None else costs.masked_fill(~there, 0.0))}}

        r = self.reduce(terms, rows={"z": z, **masks}, columns=columns_of(bank, bias), same_columns=True)
        any_known = torch.ones_like(r.row.tags) if known is None else known.any(1).to(r.row.tags)
        return self.mean(r.row.tags, any_known if weights is None else any_known * weights)

    def positive(self, s: Float[Tensor, "r c"]) -> Float[Tensor, "r c"]:
        """Return what a tag costs that is there."""
        # Not quite 0, where a power below 1 has no gradient; the cost there is 0.
        rest = (-s).sigmoid().clamp_min(torch.finfo(s.dtype).tiny)
        return rest**self.gamma_positive * softplus(-s)

    def negative(self, s: Float[Tensor, "r c"]) -> Float[Tensor, "r c"]:
        """Return what a tag costs that is not there."""
        # log(1 − p + m), in the log domain, as 1 − p may be too small to be told from 0.
        log_m = s.new_tensor(math.log(self.margin) if self.margin else -math.inf)
        cost = -torch.logaddexp(F.logsigmoid(-s), log_m).clamp_max(0.0)
        # Not quite 0 below m, where a power below 1 has no gradient; the cost there is 0.
        return (s.sigmoid() - self.margin).clamp_min(1e-8) ** self.gamma_negative * cost
