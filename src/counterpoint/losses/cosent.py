"""CoSENT: pairs that are said to be more alike must have the larger cosine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Num
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile


class CoSENTLoss(PairwiseLoss):
    """Every two pairs of different labels: the one with the higher label must have the larger cosine.

        s_i = <x_i, y_i> / τ,   loss = log [ 1 + Σ_{labels_i > labels_j} exp(s_j − s_i) ]

    The order of the labels counts and nothing else: a scale from 0 to 1 is as good as one from 0 to 5. Two pairs of one
    label give no term, and a label below 0, or NaN, takes its pair out. Where no two labels differ the loss is 0. The
    sum is over the whole batch, so that the loss grows with it, by about 2 log B.

    Args:
        temperature: τ; a number is fixed. 0.05 is a scale of 20.

    Raises:
        ValueError: for labels that are not one number a row, or embeddings that do not pair up.

    Source: Su, "CoSENT" (2022), as the graded loss of Li et al., "Conan-embedding: General Text Embedding with More and
    Better Negative Samples" (2024), arXiv 2408.15710.

    >>> x, y = torch.eye(2), torch.eye(2).roll(1, 0)          # both cosines are 0, one should be larger: log(1 + e⁰)
    >>> round(CoSENTLoss()(x, y, labels=torch.tensor([2, 1])).item(), 4)
    0.6931
    """

    family = "labels"
    is_method = True
    needs_labels: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.02, 0.2)}
    papers: ClassVar[tuple[str, ...]] = ("conan-embedding",)

    def __init__(self, temperature: Positive | Temperature = 0.05) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.05))

    def forward(
        self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"], labels: Num[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``, of which row i of one goes with row i of the other.

        Args:
            x: of each pair.
            y: of each pair.
            labels: how alike each pair is, in any unit; below 0 or NaN where that is not known.
        """
        x, y = paired(x=x, y=y)
        if labels.shape != (len(x),):
            raise ValueError(f"labels must be one number per row, ({len(x)},), got {tuple(labels.shape)}")
        score = dot(self.temperature.scale(x), y)
        # A pair that nothing is known of is neither above another nor below.
        known = labels.nan_to_num(nan=-1.0).to(score) if labels.is_floating_point() else labels.to(score)
        above = known.masked_fill(known < 0, NEG)
        below = known.masked_fill(known < 0, torch.inf)

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            ordered = tile.row.label[:, None] > tile.column.label[None]
            difference = tile.column.score[None] - tile.row.score[:, None]
            return {"total": {"wrong": LogSumExp(difference.masked_fill(~ordered, NEG))}}

        r = self.reduce(
            terms, rows={"score": score, "label": above}, columns={"score": score, "label": below}
        )
        return torch.logaddexp(r.total.wrong, torch.zeros_like(r.total.wrong))
