"""Supervised contrast: everything of one class belongs together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired_views
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, Sum
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile

Anchors = Literal["all", "first"]


class SupConLoss(PairwiseLoss):
    """Each view must find all views of its class among all others.

    With A(a) all views but a itself, and P(a) those of them that share a's class or example:

        outside:  loss = mean_a  log Σ_{b∈A(a)} exp(<z_a, z_b>/τ) − mean_{p∈P(a)} <z_a, z_p>/τ
        inside:   loss = mean_a  log Σ_{b∈A(a)} exp(<z_a, z_b>/τ) − log mean_{p∈P(a)} exp(<z_a, z_p>/τ)

    The mean outside the logarithm is the paper's choice; inside is never above it, and equal where every
    anchor has one positive. Positives are part of the denominator. Without labels this is NT-Xent, of any
    number of views; an example labelled −1 has only its own other views as positives. An anchor without
    positives (the only one of its class, in one view) is left out of the mean, which is 0 where all are.

    Anchors count alike, so that large classes outweigh small ones. The paper multiplies the loss by τ, its code and
    that of SupCL-Seq (τ = 0.05, views of one text under other rates of dropout) by τ / 0.07, which changes its scale
    alone.

    Args:
        temperature: τ; a number is fixed. The paper has 0.1, its PyTorch code 0.07.
        inside: whether the mean over positives is taken inside the logarithm.
        anchors: every view, or the first one only (against all).

    Raises:
        ValueError: for unknown anchors, labels that are not one integer per row, one view without labels, or
            views that do not match.

    Source: Khosla et al., "Supervised Contrastive Learning" (2020), arXiv 2004.11362; on texts Sedghamiz et al. (2021),
    arXiv 2109.07424.

    >>> x = torch.eye(4)                              # two of a class: positives at 1, 0 and 0
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> round(SupConLoss(temperature=1.0)(x, x, labels=labels).item(), 4)
    1.8321
    """

    family = "labels"
    is_method = True
    needs_labels = True
    many_views = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.5)}
    papers = ("supcon", "supcl-seq")

    def __init__(
        self, temperature: Positive | Temperature = 0.1, *, inside: bool = False, anchors: Anchors = "all"
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.1))
        self.inside, self.anchors = inside, anchors

    def forward(
        self, *views: Float[Tensor, "B d"], labels: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views of the same examples, and of the class of each, −1 for none."""
        each = paired_views(views, least=1 if labels is not None else 2)
        count, n = len(each), len(each[0])
        item = self.index(each[0])
        if labels is not None and (labels.shape != item.shape or labels.is_floating_point()):
            raise ValueError(
                f"labels must be one integer per row, ({n},), got {tuple(labels.shape)} {labels.dtype}"
            )
        # An example without a class is a class of its own.
        group = -1 - item if labels is None else torch.where(labels < 0, -1 - item, labels)
        columns = {
            "z": torch.cat(each),
            "group": group.repeat(count),
            "place": torch.cat([item * count + v for v in range(count)]),
        }
        rows = columns if self.anchors == "all" else {name: t[:n] for name, t in columns.items()}

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits = tile.dot()
            itself = tile.same("place")
            positive = tile.same("group") & ~itself
            return {
                "row": {
                    "others": LogSumExp(logits.masked_fill(itself, NEG)),
                    "positives": LogSumExp(logits.masked_fill(~positive, NEG))
                    if self.inside
                    else Sum(logits * positive),
                    "count": Sum(positive.to(logits)),
                }
            }

        r = self.reduce(terms, rows={**rows, "z": self.temperature.scale(rows["z"])}, columns=columns).row
        among = r.count.clamp_min(1)
        positives = r.positives - among.log() if self.inside else r.positives / among
        return self.mean(r.others - positives, weights=(r.count > 0).to(r.count))
