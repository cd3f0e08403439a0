"""Pair losses in one generic form, and their mixtures of a positive and a negative, from similarities alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import SimpleNamespace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import NonNegative
from ..pairwise.draws import drawn, keys, quantiles
from ..pairwise.inputs import dot, paired_views
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction
from ..pairwise.tile import NEG, Tile

Weights = Bool[Tensor, "r c"] | Float[Tensor, "r c"]
"""Weights of the pairs of a tile: which ones count, or how much each does."""


class PairLoss(PairwiseLoss):
    """The shared base of losses of anchors with their positives and negatives.

        l(a)  = T( σ⁺( Σ_{p ∈ P(a)} ρ⁺(s(a, p)) ) + σ⁻( Σ_{n ∈ N(a)} ρ⁻(s(a, n)) ) )
        l̃(a) = T( σ⁺( Σ_{v ∈ V(a)} λ_v ρ⁺(s(a, v)) ) + σ⁻( Σ_{v ∈ V(a)} (1 − λ_v) ρ⁻(s(a, v)) ) )
        loss  = mean_a l(a) + w mean_a l̃(a)

    s is the cosine; a loss states ρ in `terms`, and T and σ with the mean in `joined`. Labels are relative to the
    anchor: 1 of a positive, 0 of a negative, λ of a mixture v = nz(λ z_p + (1 − λ) z_n), nz(u) = u / ‖u‖. V(a) is each
    negative mixed with one positive, the next of the class in the batch, or the anchor itself where there is none; with
    λ ~ Beta(2, 2), a draw for each pair by its places in the batch. No mixture is formed:

        s(a, v) = (λ <z_a, z_p> + (1 − λ) <z_a, z_n>) / ‖λ z_p + (1 − λ) z_n‖

    takes two inner products, <z_a, z_n> and <z_p, z_n>. With λ = 1 it is the positive term, of as many of that positive
    as there are negatives.

    Args:
        mix: w. 0.4 is the paper's; 0 is the loss alone.

    Source: of mixtures, Venkataramanan et al., "It Takes Two to Tango: Mixup for Deep Metric Learning" (2022), arXiv
    2106.04990. Its release has the contrastive loss alone, one λ a step, and takes in turn mixtures with a positive
    and with the anchor.
    """

    needs_labels = True
    shares: Tensor

    def __init__(self, mix: NonNegative = 0.0) -> None:
        super().__init__()
        self.mix, self.ordered = mix, mix > 0
        self.register_buffer("shares", quantiles(2.0, 2.0), persistent=False)

    @abstractmethod
    def terms(self, s: Float[Tensor, "r c"], pull: Weights, push: Weights) -> Mapping[str, Reduction]:
        """Declare the sums of an anchor over similarities s: those of ρ⁺, weighted by pull, and of ρ⁻, by push."""

    @abstractmethod
    def joined(self, sums: SimpleNamespace) -> Float[Tensor, ""]:
        """Return the mean over anchors from their sums, by the names that `terms` gave them."""

    def over_pairs(
        self, rows: Mapping[str, Tensor], columns: Mapping[str, Tensor], partners: Float[Tensor, "a d"] | None
    ) -> Float[Tensor, ""]:
        """Return the loss of anchors and candidates.

        Args:
            rows: ``z``, ``group`` and ``place`` of anchors, and a ``key``.
            columns: the same of candidates. Of one group is positive; of one place is no pair.
            partners: the positive of each anchor that its negatives are mixed with, where they are mixed.
        """

        def clean(tile: Tile) -> dict[str, Mapping[str, Reduction]]:
            group, place = tile.same("group"), tile.same("place")
            return {"row": self.terms(tile.dot(), group & ~place, ~(group | place))}

        loss = self.joined(self.reduce(clean, rows=rows, columns=columns).row)
        if partners is None:
            return loss
        sides = {"partner": partners, "own": dot(rows["z"], partners), "square": partners.square().sum(1)}
        columns = {**columns, "square": columns["z"].square().sum(1)}

        def mixed(tile: Tile) -> dict[str, Mapping[str, Reduction]]:
            share = drawn(tile.row.key, tile.column.key, self.shares)
            rest, negative = 1 - share, ~(tile.same("group") | tile.same("place"))
            cross = 2 * share * rest * tile.dot("partner", "z")
            square = share**2 * tile.row.square[:, None] + rest**2 * tile.column.square + cross
            s = (share * tile.row.own[:, None] + rest * tile.dot()) / square.clamp_min(1e-12).sqrt()
            return {"row": self.terms(s, share * negative, rest * negative)}

        return loss + self.mix * self.joined(self.reduce(mixed, rows={**rows, **sides}, columns=columns).row)


class ViewPairLoss(PairLoss):
    """The shared base of the pair losses in which every view is an anchor, against all views of all examples."""

    many_views = True

    def forward(self, *views: Float[Tensor, "B d"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views of the same examples, and of the class of each, −1 for none."""
        each = paired_views(views, least=1)
        item, z = self.index(each[0]), torch.cat(each)
        check_labels(labels, len(item))
        # An example without a class is a class of its own.
        group = torch.where(labels < 0, -1 - item, labels).repeat(len(each))
        place = torch.cat([item + view * self.count(item) for view in range(len(each))])
        sides = {"z": z, "group": group, "place": place}
        rows, columns = ({**sides, "key": keys(place, side)} for side in (0, 1))
        return self.over_pairs(rows, columns, self._partners(z, group, place) if self.mix else None)

    def _partners(self, z: Tensor, group: Tensor, index: Tensor) -> Float[Tensor, "a d"]:
        following = next_of_group(self.ranks.everyones(group), self.ranks.everyones(index))
        here = self.ranks.rows(self.ranks.counts(len(z), z.device))
        return self.ranks.everyones(z)[following[here]]


def check_labels(labels: Tensor, n: int) -> None:
    """Refuse labels that are not one integer a row."""
    if labels.shape != (n,) or labels.is_floating_point():
        raise ValueError(
            f"labels must be one integer per row, ({n},), got {tuple(labels.shape)} {labels.dtype}: "
            "row i of one must belong to row i of the other"
        )


def next_of_group(group: Int[Tensor, " n"], index: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Return for each row the position of the next row of its group by place, of the last the first; its own if alone.

    >>> next_of_group(torch.tensor([7, 5, 7, 7]), torch.tensor([0, 1, 2, 3])).tolist()
    [2, 1, 3, 0]
    """
    order = index.argsort()
    order = order[group[order].argsort(stable=True)]
    changes = torch.ones_like(order, dtype=torch.bool)
    changes[1:] = group[order].diff() != 0
    position = torch.arange(len(order), device=order.device)
    first = torch.where(changes, position, 0).cummax(0).values
    following = torch.where(changes.roll(-1), first, position + 1)
    return torch.empty_like(order).scatter_(0, order, order[following])


def log_sum(logits: Float[Tensor, "r c"], weights: Weights) -> LogSumExp:
    """Declare ``log Σ weight · exp(logit)``."""
    if weights.dtype == torch.bool:
        return LogSumExp(logits.masked_fill(~weights, NEG))
    return LogSumExp(logits + weights.log())
