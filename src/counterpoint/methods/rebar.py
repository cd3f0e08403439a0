"""REBAR: the positive of a stretch of time is the one from which it can best be reconstructed."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Count, Fraction, Positive, Share
from ..networks.base import Towers
from ..networks.retrieval import RetrievalReconstruction
from ..networks.towers.series import SeriesTower
from ..pairwise.loss import PairwiseLoss
from ..pairwise.ranks import Ranks
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile
from ..raw import ends
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Stage, StepInfo, View
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod

RECONSTRUCT, CONTRAST = "reconstruct", "contrast"
"""The stages: the network that retrieves learns to, then the tower does."""
_PAIRS = 512  # of an anchor and a candidate that are compared at once

Where = Literal["series", "batch"]
"""Places that candidates come from: other times of a row's own series, or the other rows of the batch."""


class REBAR(TowerMethod):
    """The network R learns to reconstruct a stretch from itself, a part of it masked; then R chooses positives.

        d(a, c) = mean over the masked steps of a of (a − R(a, M, c))²
        positive of a_i:  p = argmin_c d(a_i, c)
        within  = −log e(a_i, c_ip) / Σ_c e(a_i, c_ic)
        between = −log e(a_i, c_ip) / ( e(a_i, c_ip) + Σ_{j ≠ i} e(a_i, a_j) )
        L = α between + (1 − α) within,   e(x, y) = exp(<f(x), f(y)> / τ) of unit-norm features f

    Stretches are shares of a series. In the first stage the mask is one span, in the second a half of the steps, drawn
    at random, as in the release. The mask is on the query's path alone. With ``candidates_from=batch``, for rows that
    are single stretches rather than long recordings, candidates are other rows, there is no within term, and the row
    that was chosen is no negative. Which times and rows are candidates is drawn once for the whole batch, and so is the
    mask; the release draws a mask for each candidate.

    Args:
        towers: of the column of series.
        recipe: of the run; gives nothing here, as there is no head.
        candidates_from: where candidates come from.
        candidates: how many an anchor has.
        window: the share of a series that a stretch is; the whole row is one where candidates are other rows.
        overlap: whether a candidate may overlap its anchor, as in the release.
        nearest: whether R chooses; else one of the candidates is drawn, to see what the choice is worth.
        alpha: α.
        temperature: τ, fixed.
        span: the share of a stretch that is masked in stage 1.
        first: the share of the steps that stage 1 has.
        width: of R's states.

    Raises:
        ValueError: for stretches that leave no room for candidates apart from them, or a tower of no series.

    Source: Xu et al., "REBAR: Retrieval-Based Reconstruction for Time-series Contrastive Learning" (2023), arXiv
    2311.00519. Its settings are α = 0 and τ = 0.1 for activities, α = 0.5 and τ = 0.001 for ECG; its averaged copy of
    the weights is left out here, as is the division of the loss by the size of a batch.
    """

    family = "time series"
    papers = ("rebar",)
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("series",))
    tunable: ClassVar[Ranges] = {"temperature": (0.02, 0.5)}
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        candidates_from: Where = "series",
        candidates: Count = 8,
        window: Share = 0.25,
        overlap: bool = True,
        nearest: bool = True,
        alpha: Fraction = 0.5,
        temperature: Positive = 0.1,
        span: Share = 0.12,
        first: Share = 0.3,
        width: Count = 64,
    ) -> None:
        super().__init__(towers)
        ((column, tower),) = towers.items()
        if not isinstance(tower, SeriesTower):
            raise ValueError(f"rebar needs a tower of series, and {column} has {type(tower).__name__}")
        if not overlap and window > 1 / 3:
            raise ValueError(
                f"window={window}: beside a stretch in the middle there is no room for another; take at most 1/3, or "
                "overlap=true"
            )
        self.column = column
        self.views = {column: View("series", "plain", column)}
        self.retrieval = RetrievalReconstruction(len(tower.standardised.means), width)
        self.of_batch = candidates_from == "batch"
        self.candidates, self.window, self.overlap, self.nearest = candidates, window, overlap, nearest
        self.alpha = 1.0 if self.of_batch else alpha
        self.span = span
        self.stages = (
            Stage(RECONSTRUCT, first, ("retrieval.",)),
            Stage(CONTRAST, max(1 - first, 1e-6), ("towers.",)),
        )
        self.objective = _Contrast(temperature)

    def passes(self) -> dict[str, float]:
        return {"series": 1 + (self.candidates if self.alpha < 1 else 1)}

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Cut a stretch of each row, and mask a part of it, or choose its positive."""
        series = batch[self.column]
        steps = _most(series)
        length = steps if self.of_batch else max(round(self.window * steps), 2)
        shares = torch.rand(1 + self.candidates)
        anchor = _cut(series, _starts(series, length, shares[0]), length)
        if clock.stage == RECONSTRUCT:
            masked = max(round(self.span * length), 1)
            start = int(torch.rand(()) * (length - masked + 1))
            times = torch.arange(length, device=series.device)
            visible = (times < start) | (times >= start + masked)
            return replace(batch, views={"query": anchor, "visible": visible.expand(len(anchor), -1)})
        if self.of_batch:
            others, partners = self._other_rows(batch, length)
        else:
            others = torch.stack(
                [self._candidate(series, length, shares[0], share) for share in shares[1:]], 1
            )
            partners = torch.full(others.shape[:2], -1, device=series.device)
        if self.nearest:
            hidden = torch.randperm(length)[: max(length // 2, 1)]
            positive = self.errors(anchor, others, hidden.to(series.device)).argmin(1)
        else:
            positive = self._drawn(len(anchor), others.shape[1]).to(series.device)
        rows = torch.arange(len(anchor), device=series.device)
        views = {"anchor": anchor, "chosen": positive, "partner": partners[rows, positive]}
        # All candidates are encoded only where they meet.
        views["others"] = others if self.alpha < 1 else others[rows, positive][:, None]
        return replace(batch, views=views)

    @torch.no_grad()
    def errors(
        self, anchors: Float[Tensor, "B L C"], others: Float[Tensor, "B K L C"], hidden: Int[Tensor, " h"]
    ) -> Float[Tensor, "B K"]:
        """Return how badly each anchor is reconstructed from each of its candidates, at the steps that are hidden."""
        count = others.shape[1]
        visible = torch.ones(anchors.shape[:2], dtype=torch.bool, device=anchors.device)
        visible[:, hidden] = False
        was_training = self.retrieval.training
        self.retrieval.eval()  # the distance is no matter of dropout
        per, errors = max(_PAIRS // count, 1), []
        for start in range(0, len(anchors), per):
            rows = slice(start, start + per)
            query, seen = (x[rows].repeat_interleave(count, 0) for x in (anchors, visible))
            made = self.retrieval(query, seen, others[rows].flatten(0, 1))
            errors.append(_error(query, made, ~seen))
        self.retrieval.train(was_training)
        return torch.cat(errors).view(-1, count)

    def encode(self, batch: Batch) -> Embeddings:
        if "query" in batch.views:
            query, visible = batch["query"], batch["visible"]
            return {"error": _error(query, self.retrieval(query, visible, query), ~visible)}
        others = batch["others"]
        features = self.features(self.column, others.flatten(0, 1))
        return {
            "anchor": self.features(self.column, batch["anchor"]),
            "others": features.view(*others.shape[:2], -1),
        }

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        if "error" in z:
            return {"reconstruction": self.objective.mean(z["error"])}
        anchor, others = (F.normalize(z[name], dim=-1) for name in ("anchor", "others"))
        return {"rebar": self.objective(anchor, others, batch["chosen"], batch["partner"], self.alpha)}

    def _candidate(
        self, series: Float[Tensor, "B T C"], length: int, anchor: Tensor, share: Tensor
    ) -> Float[Tensor, "B L C"]:
        """Return a candidate of every row at one share of where it may begin."""
        starts = _starts(series, length, share)
        if not self.overlap:
            start, last = _starts(series, length, anchor), (ends(series) - length).clamp_min(0)
            # Of the starts that are left, those before the anchor come first.
            before, after = (start - length + 1).clamp_min(0), (last - start - length + 1).clamp_min(0)
            offset = (share.to(series.device) * (before + after)).long()
            starts = torch.where(offset < before, offset, start + length + offset - before)
            # A series that is too short for two stretches has its farthest one.
            starts = torch.where(before + after > 0, starts, torch.where(start > last / 2, 0, last))
        return _cut(series, starts, length)

    def _other_rows(self, batch: Batch, length: int) -> tuple[Float[Tensor, "B K L C"], Int[Tensor, "B K"]]:
        """Return stretches of other rows of the whole batch for every row, and these rows' numbers."""
        ranks, series = Ranks.present(), _filled(batch[self.column], length)
        counts = ranks.counts(len(series), series.device)
        whole, mine = ranks.gather(series, counts), ranks.rows(counts)
        n = len(whole)
        if n < 2:
            raise ValueError("rebar,candidates_from=batch needs batches of at least 2 rows")
        steps = 1 + torch.randperm(n - 1)[: self.candidates]
        rows = (torch.arange(n)[mine, None] + steps) % n
        return whole[rows.to(series.device)], rows.to(series.device)

    def _drawn(self, count: int, candidates: int) -> Int[Tensor, " B"]:
        """Draw a candidate for every row of the whole batch; return those of this rank's rows."""
        ranks = Ranks.present()
        counts = ranks.counts(count, torch.device("cpu"))
        return torch.randint(candidates, (sum(counts),))[ranks.rows(counts)]


@final
class _Contrast(PairwiseLoss):
    """The loss of anchors and their candidates, of which one each was chosen."""

    papers = ("rebar",)

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.1))

    def forward(
        self,
        anchor: Float[Tensor, "B d"],
        others: Float[Tensor, "B K d"],
        chosen: Int[Tensor, " B"],
        partner: Int[Tensor, " B"],
        alpha: float,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm embeddings.

        Args:
            anchor: of the anchors.
            others: of their candidates, or, where the within term has no weight, of the chosen ones alone.
            chosen: which candidate is the positive.
            partner: the row of the whole batch that the positive is of, if another than the anchor's; else −1.
            alpha: the weight of the between term.
        """
        # At the temperatures of some signals a logit has no room in 16 bits.
        anchor, others = (z if z.dtype == torch.float64 else z.float() for z in (anchor, others))
        scaled = self.temperature.scale(anchor)
        logits = (scaled[:, None] * others).sum(-1)
        loss = logits.new_zeros(())
        if alpha < 1:
            loss = loss + (1 - alpha) * self.mean(F.cross_entropy(logits, chosen, reduction="none"))
        if alpha > 0:
            index = chosen if alpha < 1 else torch.zeros_like(chosen)
            positive = logits.gather(1, index[:, None])[:, 0]

            def negatives(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
                met = tile.row.partner[:, None] == tile.j
                return {"row": {"all": LogSumExp(tile.off_diagonal(tile.dot().masked_fill(met, NEG)))}}

            r = self.reduce(negatives, rows={"z": scaled, "partner": partner}, columns={"z": anchor})
            loss = loss + alpha * self.mean(torch.logaddexp(positive, r.row.all) - positive)
        return loss


def _error(
    query: Float[Tensor, "n T C"], made: Float[Tensor, "n T C"], masked: Bool[Tensor, "n T"]
) -> Float[Tensor, " n"]:
    """Return the mean square of what is wrong at the masked steps, of what was measured there."""
    known = masked[..., None] & ~query.isnan()
    wrong = torch.where(known, made - query.nan_to_num(0.0), torch.zeros_like(made)).square()
    return wrong.sum((1, 2)) / known.sum((1, 2)).clamp_min(1)


def _most(series: Float[Tensor, "B T C"]) -> int:
    """Return the most steps that a series has on any rank."""
    steps = torch.tensor([series.shape[1]], device=series.device)
    return int(torch.stack(Ranks.present().stack(steps)).max())


def _filled(series: Float[Tensor, "B T C"], length: int) -> Float[Tensor, "B L C"]:
    """Return the first steps of series, NaN behind their ends."""
    return F.pad(series[:, :length], (0, 0, 0, max(length - series.shape[1], 0)), value=torch.nan)


def _starts(series: Float[Tensor, "B T C"], length: int, share: Tensor) -> Int[Tensor, " B"]:
    """Return where stretches begin, at one share of where each could."""
    spare = (ends(series) - length).clamp_min(0)
    return (share.to(series.device) * (spare + 1)).long()


def _cut(series: Float[Tensor, "B T C"], starts: Int[Tensor, " B"], length: int) -> Float[Tensor, "B L C"]:
    """Return the stretches that begin at some steps; NaN behind the end of a series."""
    steps = starts[:, None] + torch.arange(length, device=series.device)
    inside = steps < series.shape[1]
    cut = series.gather(1, steps.clamp_max(series.shape[1] - 1)[..., None].expand(-1, -1, series.shape[2]))
    return torch.where(inside[..., None], cut, torch.full_like(cut, torch.nan))
