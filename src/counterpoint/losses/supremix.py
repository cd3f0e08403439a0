"""SupReMix: contrast on numbers, with mixtures of the batch's embeddings that are never formed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from ..forms import BelowOne, Natural, NonNegative, Positive
from ..pairwise.draws import drawn, keys, quantiles, uniform
from ..pairwise.inputs import dot, paired_views
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import WholeRow, log_sum_exp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile
from ..types import Kind

_CONCENTRATION = 10.0


class SupReMixLoss(PairwiseLoss):
    """Each view must find the views of its number, and mixtures of it, among all others and among mixtures with itself.

        loss = mean_i log Σ_{a ∈ S_i} w_ia exp(<z_i, m_a>/τ) − mean_{p ∈ T_i} <z_i, m_p>/τ,    w_ia = c |y_i − y_a| + 1

    ==========  ==================================================================================================
    real        all other views; those of the same number are in T_i
    hard        z̄ = λ z_i + (1 − λ) z_k for each k of another number, y = λ y_i + (1 − λ) y_k, not in T_i;
                λ ~ Beta(10 s, 10 (1 − s)), a draw for each pair by its places in the batch
    positive    z̄ = a z_j + (1 − a) z_k with y_i − n < y_j < y_i < y_k < y_i + n and a = (y_k − y_i) / (y_k − y_j),
                whose number is y_i; in T_i. K of these pairs (j, k) are drawn for each anchor, with replacement
    ==========  ==================================================================================================

    S_i are all of these. Mixtures carry no gradient, the anchor does, and they are not normalised. None is formed: as
    similarities are linear, <z_i, z̄> is a combination of <z_i, z_j> and <z_i, z_k>. All three kinds share one
    maximum; the release subtracts one from real logits and another from mixed ones, which weighs them against each
    other. It takes all pairs (j, k), which are as many as B². An anchor without a positive of either kind is left out
    of the mean; an example without a number (NaN) is neither anchor nor candidate.

    Args:
        temperature: τ; a number is fixed.
        share: s, the mean share of the anchor in hard negatives: 0.2 is Beta(2, 8), and 0.5 and 0.8 are the release's
            other two; near 1 they are the anchor itself. 0 for none.
        mixes: K; 0 for none.
        window: n, in units of the numbers; any distance unless given. The paper's windows could not be checked.
        weight: c. Numbers should be spread over 10 to 100 / c; 0 weighs all alike.
        resolution: numbers are rounded to multiples of it first: of numbers that are never equal no two views of
            different examples are positives. 0 leaves them as they are.

    Raises:
        ValueError: for labels that are not one number per row, or views that do not match.

    Source: Wu et al., "Mixup Your Own Pairs" (2023), arXiv 2309.16633.

    >>> x = torch.eye(2)                              # log(e + 2 · 2 · 1) − 1: the other number weighs 2
    >>> round(SupReMixLoss(1.0, share=0.0, mixes=0)(x, x, labels=torch.tensor([3.0, 4.0])).item(), 4)
    0.9048
    """

    family = "supervised"
    is_method = True
    needs_labels = True
    learns: ClassVar[tuple[Kind, ...]] = ("numbers",)
    many_views = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.5)}
    stop_gradient = True
    papers = ("supremix",)
    shares: Tensor

    def __init__(
        self,
        temperature: Positive | Temperature = 0.07,
        *,
        share: BelowOne = 0.2,
        mixes: Natural = 16,
        window: Positive | None = None,
        weight: NonNegative = 1.0,
        resolution: NonNegative = 0.0,
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.07))
        self.share, self.mixes, self.window = share, mixes, window
        self.weight, self.resolution = weight, resolution
        self.ordered = bool(share or mixes)
        shares = quantiles(_CONCENTRATION * share, _CONCENTRATION * (1 - share)) if share else torch.empty(0)
        self.register_buffer("shares", shares, persistent=False)

    def forward(self, *views: Float[Tensor, "B d"], labels: Num[Tensor, " B"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views of the same examples, and of the number of each, NaN for none."""
        each = paired_views(views, least=1)
        item, z = self.index(each[0]), torch.cat(each)
        if labels.shape != item.shape:
            raise ValueError(
                f"labels must be one number per row, ({len(item)},), got {tuple(labels.shape)}: "
                "row i of one must belong to row i of the other"
            )
        place = torch.cat([item + view * self.count(item) for view in range(len(each))])
        y = labels.detach().to(z.dtype).repeat(len(each))
        y = (y / self.resolution).round() * self.resolution if self.resolution else y
        low, high, positives = self.mixtures(y, place)
        fixed = z.detach()
        columns = {"z": z, "fixed": fixed, "y": y, "place": place, "key": keys(place, 1)}
        scaled = self.temperature.scale(z)
        rows = {
            **columns,
            "z": scaled,
            "own": dot(scaled, fixed),
            "key": keys(place, 0),
            "low": low,
            "high": high,
        }

        def terms(tile: Tile) -> dict[str, dict[str, WholeRow]]:
            real, mixed = tile.dot(), tile.dot("z", "fixed")
            return {"total": {"loss": WholeRow(lambda s, m: self.of_rows(tile, s, m), real, mixed)}}

        r = self.reduce(terms, rows={**rows, "positives": positives}, columns=columns)
        anchors = self.ranks.total((positives > 0).sum())
        return r.total.loss / anchors.clamp_min(1)

    def of_rows(self, tile: Tile, s: Float[Tensor, "r c"], m: Float[Tensor, "r c"]) -> Float[Tensor, " r"]:
        """Return the losses of anchors, from similarities with all views: with their gradient, and without."""
        y, row = tile.row.y[:, None], tile.row
        distance = (y - tile.column.y).abs()
        other = ~(tile.same("place") | distance.isnan())
        same = other & (distance == 0)
        distance = distance.nan_to_num(0.0)
        sums = [log_sum_exp((s + (self.weight * distance).log1p()).masked_fill(~other, NEG))]
        attraction = (s * same).sum(1)
        if self.share:
            share = drawn(row.key, tile.column.key, self.shares)
            hard = share * row.own[:, None] + (1 - share) * m + (self.weight * (1 - share) * distance).log1p()
            sums.append(log_sum_exp(hard.masked_fill(same | ~other, NEG)))
        if self.mixes:
            y_low, y_high = tile.column.y[row.low], tile.column.y[row.high]
            of_low = (y_high - y) / (y_high - y_low)
            there = (y_high > y_low) & (row.positives > 0)[:, None]
            of_low = of_low.masked_fill(~there, 0.0)
            easy = of_low * m.gather(1, row.low) + (1 - of_low) * m.gather(1, row.high)
            sums.append(log_sum_exp(easy.masked_fill(~there, NEG)))
            attraction = attraction + (easy * there).sum(1)
        losses = log_sum_exp(torch.stack(sums, 1)) - attraction / row.positives.clamp_min(1)
        return torch.where(row.positives > 0, losses, 0.0)

    def mixtures(
        self, y: Float[Tensor, " n"], index: Int[Tensor, " n"]
    ) -> tuple[Int[Tensor, "n K"], Int[Tensor, "n K"], Float[Tensor, " n"]]:
        """Return the columns j and k of each anchor's mixtures, and how many positives it has, mixtures among them.

        The two columns are the same where there are no mixtures.
        """
        counts = self.ranks.counts(len(y), y.device)
        everyone, indices = self.ranks.gather(y, counts), self.ranks.gather(index, counts)
        order = indices.argsort()
        order = order[everyone[order].argsort(stable=True)]  # NaN comes last
        numbers = everyone[order]
        reach = torch.inf if self.window is None else self.window
        known = int((~numbers.isnan()).sum())
        numbers = numbers[:known]
        start = torch.searchsorted(numbers, y - reach, right=True)
        first, last = torch.searchsorted(numbers, y), torch.searchsorted(numbers, y, right=True)
        end = torch.searchsorted(numbers, y + reach)
        there = (first > start) & (end > last) & ~y.isnan()
        below, above = uniform(index, 2 * self.mixes, 2).chunk(2, 1)

        def one_of(drawn: Tensor, begin: Tensor, count: Tensor) -> Tensor:
            at = begin[:, None] + (drawn * count[:, None]).long()
            return order[torch.where(there[:, None], at, 0)]

        low, high = one_of(below, start, first - start), one_of(above, last, end - last)
        positives = (last - first - 1).masked_fill(y.isnan(), 0) + self.mixes * there
        return low, high, positives.to(y.dtype)
