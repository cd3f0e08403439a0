"""NT-Xent whose positives and negatives are resampled by what a teacher sees."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import BelowOne, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, TopK, WholeRow
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile

Rule = Literal["add_positive", "drop_false_positive", "drop_false_negative", "drop_easy_negative"]
_RATIOS: dict[str, float] = {
    "add_positive": 0.0,
    "drop_false_positive": 0.1,
    "drop_false_negative": 0.05,
    "drop_easy_negative": 0.1,
}
_ROUNDING = 1e-6
"""Similarities as close as this are equal, so that copies of an example share its fate."""


class GuidedNTXentLoss(PairwiseLoss):
    """NT-Xent on two views, with the pairs chosen by a teacher (CLIP's image tower, in the paper).

    With z = [x; y], C the cosines of the teacher's embeddings of the same 2B views, and k = ⌊ratio · 2B⌋:

    =======================  ===============================================================================
    ``add_positive``         the view of another example that C puts closest to the anchor is a second
                             positive; the losses of both are averaged
    ``drop_false_positive``  anchors whose own two views are no more alike than the k-th least alike are left
                             out, and the mean is over those that stay
    ``drop_false_negative``  negatives as similar to the anchor as its k-th most similar view leave its
                             denominator
    ``drop_easy_negative``   negatives as dissimilar as its k-th least similar view leave its denominator
    =======================  ===============================================================================

    Ranks are among all 2B views, the anchor itself and its partner included; the partner is never removed.
    Below k = 1 a rule changes nothing. No gradient reaches the teacher's embeddings.

    The rules hand on the teacher's supervision: distilling the teacher is the fair control. A batch of one
    has no negatives: the loss is 0.

    Args:
        rule: which of the four.
        ratio: in [0, 1); None is the paper's, 0.05 for false negatives and 0.1 for the others. Adding positives
            needs none.
        temperature: τ; a number is fixed.

    Raises:
        ValueError: for an unknown rule, a ratio outside [0, 1), or embeddings that do not belong together row
            by row.

    Source: Zhang et al., "On the Generalization of Multi-modal Contrastive Learning" (2023), arXiv 2306.04272.

    >>> x = torch.eye(4)                              # to the teacher all views are alike: no anchor stays
    >>> loss = GuidedNTXentLoss("drop_false_positive", ratio=0.5)
    >>> loss(x, x, teacher_x=torch.ones(4, 2), teacher_y=torch.ones(4, 2)).item()
    0.0
    """

    family = "weighted"
    symmetric = True
    papers = ("mmcl-generalization",)

    def __init__(
        self,
        rule: Rule = "add_positive",
        *,
        ratio: BelowOne | None = None,
        temperature: Positive | Temperature = 0.1,
    ) -> None:
        super().__init__()
        self.rule = rule
        self.ratio = _RATIOS[rule] if ratio is None else ratio
        self.temperature = Temperature.of(temperature, Temperature(0.1))

    def forward(
        self,
        x: Float[Tensor, "B d"],
        y: Float[Tensor, "B d"],
        *,
        teacher_x: Float[Tensor, "B w"],
        teacher_y: Float[Tensor, "B w"],
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views ``x`` and ``y``, of which the teacher's embeddings have any length."""
        x, y = paired(x=x, y=y)
        c_x, c_y = (F.normalize(c.detach(), dim=-1) for c in paired(teacher_x=teacher_x, teacher_y=teacher_y))
        if len(c_x) != len(x):
            raise ValueError(f"the teacher must embed the same views: {len(x)} rows, got {len(c_x)}")
        n, item = self.count(x), self.index(x)
        k = int(self.ratio * 2 * n + 1e-9)  # 0.29 · 100 is 28.999999999999996
        z, partner = torch.cat([x, y]), torch.cat([y, x])
        scaled, side = (
            self.temperature.scale(z),
            {"c": torch.cat([c_x, c_y]), "item": torch.cat([item, item])},
        )
        add_positive = self.rule == "add_positive" and n > 1
        drop = k > 0 and self.rule in ("drop_false_negative", "drop_easy_negative")
        sign = -1 if self.rule == "drop_easy_negative" else 1

        def row_logsumexp(logits: Tensor, similarity: Tensor, negative: Tensor) -> Tensor:
            """Return the log-sum-exp of complete rows without the negatives to be dropped."""
            limit = similarity.topk(k, 1).values[:, -1:]
            return logits.masked_fill(negative & (similarity >= limit - _ROUNDING), NEG).logsumexp(1)

        def terms(tile: Tile) -> dict[str, dict[str, Any]]:
            scores = tile.dot()
            logits = tile.off_diagonal(scores)
            if not add_positive and not drop:
                return {"row": {"others": LogSumExp(logits)}}
            similarity = sign * tile.dot("c")
            negative = ~tile.same("item")
            if drop:
                return {"row": {"others": WholeRow(row_logsumexp, logits, similarity, negative)}}
            new = TopK(similarity.masked_fill(~negative, NEG), 1, scores)
            return {"row": {"others": LogSumExp(logits), "new": new}}

        r = self.reduce(terms, rows={"z": scaled, **side}, columns={"z": z, **side})
        positive = dot(scaled, partner)
        if add_positive:
            positive = (positive + r.row.new.values[:, 0]) / 2
        loss = r.row.others - positive
        if self.rule == "drop_false_positive" and k > 0:
            alike = (c_x * c_y).sum(-1)
            everyone = self.ranks.gather(alike, self.ranks.counts(len(alike), alike.device))
            limit = everyone.sort().values[(k - 1) // 2]  # each stands for two anchors
            return self.mean(loss, (alike > limit + _ROUNDING).to(loss.dtype).repeat(2))
        return self.mean(loss)
