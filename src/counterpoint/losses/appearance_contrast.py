"""CustomContrast's appearance loss: views of a subject attract, and subjects repel less the more they look alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired_views, upcast
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, Sum
from ..pairwise.tile import NEG, Tile


class AppearanceContrastLoss(PairwiseLoss):
    """Contrast between views of subjects, in which a negative counts by how different it looks.

        s_ij = <x_i, x_j> / τ,   w_ij = clip(1 − cos(a_i, a_j), 0, 1),   a constant to the gradient
        loss = mean over i with a positive, mean over p ∈ P(i), of log [ exp s_ip + Σ_{j ∈ N(i)} w_ij exp s_ij ] − s_ip

    P(i) are the other views of i's subject and N(i) all views of other subjects: a subject is never its own negative,
    and one positive does not stand against another. a are appearances, which should be measured on what the subject
    covers alone: measured on whole pictures, alike backgrounds would let subjects attract each other. Without
    appearances all w are 1. An example without a subject (−1) is a subject of its own.

    Args:
        temperature: τ.

    Raises:
        ValueError: for subjects or appearances that are not one a row.

    Source: Chen et al., "CustomContrast" (2024), arXiv 2409.05606, whose formula could not be checked: this is its
    natural form.

    >>> x, subjects = torch.eye(4), torch.tensor([0, 0, 1, 1])
    >>> loss = AppearanceContrastLoss(temperature=1.0)
    >>> round(loss(x, labels=subjects).item(), 4)                   # a positive and two negatives at 0: log 3
    1.0986
    >>> loss(x, labels=subjects, appearances=torch.ones(4, 1)).item() # all look alike: no negative counts
    0.0
    """

    family = "supervised"
    symmetric: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    many_views: ClassVar[bool] = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.5)}
    papers: ClassVar[tuple[str, ...]] = ("customcontrast",)

    def __init__(self, temperature: Positive = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self,
        *views: Float[Tensor, "B d"],
        labels: Int[Tensor, " B"],
        appearances: Float[Tensor, "B v"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views of the same examples.

        Args:
            views: of the examples; one or more.
            labels: the subject of each example, −1 for none.
            appearances: unit-norm features of what each example's subject looks like; they get no gradient.
        """
        each = paired_views(views, least=1)
        count, item = len(each), self.index(each[0])
        if labels.shape != item.shape or labels.is_floating_point():
            raise ValueError(
                f"labels must be one integer per row, ({len(item)},), got {tuple(labels.shape)} {labels.dtype}"
            )
        if appearances is not None and len(appearances) != len(item):
            raise ValueError(f"appearances must be one per row, {len(item)}, got {len(appearances)}")
        columns = {
            "z": upcast(torch.cat(each)),
            "place": torch.cat([item * count + view for view in range(count)]),
            "subject": torch.where(labels < 0, -1 - item, labels).repeat(count),
        }
        if appearances is not None:
            columns["appearance"] = upcast(appearances.detach()).repeat(count, 1)
        rows = {**columns, "z": columns["z"] / self.temperature}

        def negatives(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            logits, same = tile.dot(), tile.same("subject")
            if appearances is not None:
                with torch.no_grad():
                    weights = (1 - tile.dot("appearance")).clamp(0, 1)
                # −∞ where a weight is 0: such a negative has no part.
                logits, same = logits + weights.clamp_min(1e-30).log(), same | (weights == 0)
            return {"row": {"all": LogSumExp(logits.masked_fill(same, NEG))}}

        below = self.reduce(negatives, rows=rows, columns=columns).row.all

        def positives(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits, positive = tile.dot(), tile.same("subject") & ~tile.same("place")
            terms = torch.logaddexp(logits, tile.row.below[:, None]) - logits
            return {"row": {"terms": Sum(terms * positive), "count": Sum(positive.to(logits))}}

        r = self.reduce(positives, rows={**rows, "below": below}, columns=columns).row
        return self.mean(r.terms / r.count.clamp_min(1), weights=(r.count > 0).to(r.count))
