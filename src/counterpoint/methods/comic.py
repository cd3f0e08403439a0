"""COMIC: tags of which many are rare and some are missing, which the classifier itself puts back where it is sure."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..data.loading.sampled import STREAM
from ..forms import Fraction, Natural, NonNegative
from ..losses import COMICLoss
from ..losses.comic import company, frequency_weights
from ..networks.base import Towers
from ..networks.state.item_state import ItemState
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target, TrainingExamples
from ._tags import TagScores
from .base import Ranges

_BALANCED = 2
"""The number of the stream in which all tags come equally often."""
_UNKNOWN = -1.0


class COMIC(TagScores):
    """Tags that are rare, and partly missing: weights by frequency, corrected tags, and three streams of examples.

        s_c = 16 cos(f(x), v_c),   p = σ(s − δ y),   y* = 1 where y = 1, or p > τ and p > its mean over the batch
        L = COMIC(s; y, w^⅓, a) + λ COMIC(s'; y*, w^⅙, δ) / (tags of y* an example)

    `COMICLoss` weighs tags by how rare they are, and asks less of those that often come along with an example's own
    (a). The second term, from the epoch ``warmup`` on, is of tags put right: an observed tag is never taken away, what
    is not known is not made up, and neither τ nor the focus has a gradient. A third each of every batch comes as it
    is, by rare tags, and evenly by tags (``sampler``). In the first two s' leaves out what all features share, c the
    direction of their moving average: s' = 16 <x̂ − <x̂, c> c, v_c>.

    Tags and pairs of them are counted at the start of every epoch among all training examples, with those that are put
    right there. `wrong` says how likely an example lacks a tag, for ``counterpoint data audit``. With λ = 0 nothing is
    put right.

    Args:
        towers: the tower, by its column.
        recipe: unused: the head is as wide as the tower.
        target: the label that is learned.
        weight: λ.
        threshold: τ.
        margin: δ.
        warmup: epochs before tags are put right.

    Raises:
        ValueError: without a label, and for one that is not of tags.

    Source: Zhang et al., "Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution
    and Partial Labels" (2023), arXiv 2304.10539. The release trains a network for each stream, no gradient between
    them, of which the balanced one answers; here one network sees all three, its loss their mean. Recovered tags are
    counted once an epoch, and not as they are found. How the release counts a tag along with itself could not be
    checked; here it does not.
    """

    family = "tags"
    papers = ("comic",)
    name = "comic"
    sampler = "natural+reversed+balanced"
    epoch_start_every = 1
    tunable: ClassVar[Ranges] = {"weight": (0.05, 1.0)}
    counts: Tensor
    together: Tensor
    recovered: Tensor
    common: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        weight: NonNegative = 0.2,
        threshold: Fraction = 0.7,
        margin: NonNegative = 1.0,
        warmup: Natural = 1,
    ) -> None:
        super().__init__(towers, recipe, target=target, head="cosine", temperature=1 / 16)
        self.tags = COMICLoss(margin=margin)
        self.weight, self.threshold, self.margin, self.warmup = weight, threshold, margin, warmup
        tags, width = self.head.weight.shape
        self.register_buffer("counts", torch.ones(tags))
        self.register_buffer("recovered", torch.zeros(tags))
        self.register_buffer("together", torch.zeros(tags, tags))
        self.register_buffer("common", torch.zeros(width))
        self.items = ItemState(wrong=_UNKNOWN)

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Count tags, pairs of them and those that are put right, and judge which examples lack one."""
        tags = self.classes(examples).cpu()
        true = (tags == 1).float()
        self.counts.copy_(true.sum(0))
        self.together.copy_(true.T @ true)
        if clock.epoch < self.warmup:
            return
        scores = examples.map(lambda batch: upcast(self.logits(self.encode(batch), batch)))
        p = (scores - self.margin * true).sigmoid()
        self.recovered.copy_(self.missing(p, tags, p.mean(0)).sum(0))
        lacking = torch.where((tags == 0) & (p > p.mean(0)), p, 0.0).amax(1)
        lacking = lacking.masked_fill((tags < 0).all(1), _UNKNOWN)
        device = self.items.ids.device
        self.items.store(examples.ids.to(device), wrong=lacking.to(device))

    def wrong(self, ids: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return how likely each item lacks a tag, as the last look judged: the largest p; NaN where nothing is known.

        A tag whose p is not above its mean counts for nothing.
        """
        (lacking,) = self.items.recall(ids)
        return lacking.masked_fill(lacking == _UNKNOWN, math.nan)

    def missing(
        self, p: Float[Tensor, "n C"], tags: Int[Tensor, "n C"], usual: Float[Tensor, " C"]
    ) -> Bool[Tensor, "n C"]:
        """Return the tags that seem not to apply, and do, as the classifier is sure."""
        return (tags == 0) & (p > self.threshold) & (p > usual)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = super().losses(z, batch, clock)
        if self.weight and clock.epoch >= self.warmup:
            (column,) = self.columns
            losses["correction"] = self.weight * self.corrected(z[column], batch)
        return losses

    def loss(
        self, features: Float[Tensor, "B W"], labels: Tensor, weights: Float[Tensor, " B"] | None
    ) -> Float[Tensor, ""]:
        rows, bank, _ = self.head(features)
        true, weight = labels == 1, frequency_weights(self.counts, 1 / 3)
        along = company(true, self.together)
        return self.tags(rows, bank, weight, targets=true, known=labels >= 0, company=along)

    def corrected(self, features: Float[Tensor, "B W"], batch: Batch) -> Float[Tensor, ""]:
        """Compute the second term, of tags that are put right."""
        tags, ranks = self.classes(batch), Ranks.present()
        true, known = tags == 1, tags >= 0
        rows, bank, _ = self.head(features)
        rows = self.apart(rows, batch)
        with torch.no_grad():
            p = (upcast(F.linear(rows, bank)) - self.margin * true).sigmoid()
            right = true | self.missing(p, tags, moments.mean(p, ranks=ranks))
            each = moments.mean(right.sum(1).to(p), known.any(1).to(p), ranks=ranks)
        weight = frequency_weights(self.counts + self.recovered, 1 / 6)
        loss = self.tags(rows, bank, weight, targets=right, known=known, observed=true)
        return loss / torch.where(each > 0, each, 1.0)

    def apart(self, rows: Float[Tensor, "B W"], batch: Batch) -> Float[Tensor, "B W"]:
        """Return the vectors of examples without what all share, but for those of the balanced stream."""
        if STREAM not in batch.labels:
            return rows
        c = F.normalize(self.common, dim=0)
        rest = rows - (rows @ c)[:, None] * c
        return torch.where((batch.labels[STREAM] == _BALANCED)[:, None], rows, rest)

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        (column,) = self.columns
        self.common.lerp_(moments.mean(z[column], ranks=Ranks.present()).to(self.common), 0.1)

    def passes(self) -> dict[str, float]:
        return {modality: count + 1 / self.epoch_start_every for modality, count in super().passes().items()}
