"""COMIC's loss: rare tags weigh more, and those that often come along with an example's tags cost less."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import BelowOne, NonNegative, Positive
from ..pairwise.inputs import softplus
from ..pairwise.reductions import Reduction, Sum
from ..pairwise.tile import Tile
from ._checks import check_tags
from ._class_scores import ClassLoss, matched
from ._labels import of_tile


class COMICLoss(ClassLoss):
    """Each tag of each example is a question of its own, weighted by how frequent the tag is and what comes along.

        loss = −mean_i Σ_c w_c (1 − q_ic)^γ_ic log q_ic
        q_ic = p_ic (1 − a_ic)                       γ_ic = γ₊            of tags that apply
        q_ic = min(1, r_ic (1 − p_ic + m))           γ_ic = γ₋ + w_c      of others
        p_ic = σ(<z_i, v_c> − δ [c observed of i]),  r_ic = r where a_ic > 0, else 1

    The sum over tags and the mean over examples. The focusing weights (1 − q)^γ are constants, without gradient: with
    one, the loss would be another. With a = 0 and every w = 1 its value is that of `AsymmetricLoss` with γ₋ + 1.

    Args:
        gamma_positive: γ₊.
        gamma_negative: γ₋; rare tags that do not apply, of a larger w, are focused more.
        clip: m.
        relief: r, of tags that often come along.
        margin: δ, by which scores of observed tags are lower.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Zhang et al., "Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution
    and Partial Labels" (2023), arXiv 2304.10539, with the constants of its release.

    >>> bank = torch.eye(2)                              # p = σ(1) of a tag that applies, ½ of one that does not
    >>> true, even = torch.tensor([[True, False]]), torch.ones(2)
    >>> round(COMICLoss(0.0, 1.0, 0.0)(bank[:1], bank, even, targets=true).item(), 4)
    0.4865
    """

    family = "tags"
    stop_gradient = True
    papers = ("comic",)

    def __init__(
        self,
        gamma_positive: NonNegative = 0.0,
        gamma_negative: NonNegative = 3.0,
        clip: BelowOne = 0.05,
        relief: Positive = 1.2,
        margin: NonNegative = 1.0,
    ) -> None:
        super().__init__()
        self.gamma_positive, self.gamma_negative = gamma_positive, gamma_negative
        self.clip, self.relief, self.margin = clip, relief, margin

    def forward(
        self,
        z: Float[Tensor, "B d"],
        bank: Float[Tensor, "C d"],
        weight: Float[Tensor, " C"],
        *,
        targets: Bool[Tensor, "B C"],
        known: Bool[Tensor, "B C"] | None = None,
        observed: Bool[Tensor, "B C"] | None = None,
        company: Float[Tensor, "B C"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of examples and tag vectors.

        Args:
            z: the examples.
            bank: v, of the tags, the same on every rank.
            weight: w, see `frequency_weights`.
            targets: the tags that an example has.
            known: the tags of which that is known; all unless given. An example of which nothing is known counts for
                nothing.
            observed: the tags whose scores are lowered; none unless given.
            company: a, see `company`; 0 unless given.
        """
        z, bank = matched(z, bank, weight)
        masks = {"targets": targets, "known": known, "observed": observed, "company": company}
        present = {name: mask for name, mask in masks.items() if mask is not None}
        check_tags(z, bank, **present)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            s, w, a = tile.dot(), tile.column.weight, of_tile("company", tile)
            true, there, seen = (of_tile(name, tile) for name in ("targets", "known", "observed"))
            assert true is not None
            if seen is not None:
                s = s - self.margin * seen
            costs = torch.where(true, self.positive(s, a), self.negative(s, a))
            gamma = torch.where(true, self.gamma_positive, self.gamma_negative + w)
            # 1 − q of q = exp(−cost), to the last digit where q is near 1.
            costs = w * (-torch.expm1(-costs.detach())) ** gamma * costs
            return {"row": {"tags": Sum(costs if there is None else costs.masked_fill(~there, 0.0))}}

        columns = {"z": bank, "weight": weight.to(bank.dtype)}
        r = self.reduce(terms, rows={"z": z, **present}, columns=columns, same_columns=True)
        any_known = torch.ones_like(r.row.tags) if known is None else known.any(1).to(r.row.tags)
        return self.mean(r.row.tags, any_known)

    def positive(self, s: Float[Tensor, "r c"], a: Float[Tensor, "r c"] | None) -> Float[Tensor, "r c"]:
        """Return −log q of a tag that applies."""
        return softplus(-s) if a is None else softplus(-s) - (1 - a).clamp_min(1e-8).log()

    def negative(self, s: Float[Tensor, "r c"], a: Float[Tensor, "r c"] | None) -> Float[Tensor, "r c"]:
        """Return −log q of a tag that does not apply."""
        log_q = torch.logaddexp(
            F.logsigmoid(-s), s.new_tensor(math.log(self.clip) if self.clip else -math.inf)
        )
        if a is not None:
            log_q = torch.where(a > 0, log_q + math.log(self.relief), log_q)
        return -log_q.clamp_max(0.0)


def frequency_weights(counts: Float[Tensor, " C"], power: float) -> Float[Tensor, " C"]:
    """Return ``w_c = (1 − ln n_c / max n)^power``: 1 for the commonest tag, more for rare ones; none counts as one.

    >>> [round(weight, 3) for weight in frequency_weights(torch.tensor([100.0, 0.0]), 1.0).tolist()]
    [1.0, 5.605]
    """
    counts = counts.clamp_min(1)
    return (1 - (counts / counts.max()).log()) ** power


def company(targets: Bool[Tensor, "B C"], together: Float[Tensor, "C C"]) -> Float[Tensor, "B C"]:
    """Return how much each tag comes along with those that an example has: a, whose sum is 1, or 0 without any tag.

        a_i ∝ Σ_{k ∈ P_i} A_k,   A_kc = n_kc / Σ_k n_kc

    The counts n have no diagonal: a tag that never comes along with others would forbid itself.

    >>> company(torch.tensor([[True, False], [False, False]]), torch.tensor([[9.0, 2.0], [2.0, 5.0]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]

    Args:
        targets: the tags of examples.
        together: n_kc, how many training examples have tag k and tag c.
    """
    counts = together - together.diagonal().diag()
    a = targets.to(counts) @ (counts / counts.sum(0).clamp_min(1))
    return a / torch.where(a.sum(1, keepdim=True) > 0, a.sum(1, keepdim=True), 1.0)
