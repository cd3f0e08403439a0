"""Late fusion: features of any columns, joined by one operation, and a classifier of what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...forms import BelowOne, Natural
from ...networks.base import Towers
from ...networks.heads import mlp
from ...recipes.schema import Recipe
from ...types import Batch, Clock, Embeddings, Target
from ..dual_encoder import linear_heads
from ..needs import Needs
from ._classifying import Classifying
from ._running import RunningMean

Operator = Literal["concat", "mean", "mul", "max"]
"""Choices of how features are joined: side by side, or entry by entry their mean, product or maximum."""
Filling = Literal["zero", "mean"]
"""Choices of what stands in for the features of a column that an example lacks."""


class Late(Classifying):
    """``p = softmax(C(h_1 ⊕ … ⊕ h_N))``, h_m = W_m f_m(x_m) the features of a column; L = CE(p, y).

    What stands in for the features of a column that an example lacks:

    ========  =========================================================================================
    ``zero``  0
    ``mean``  the mean of the column's features over the training examples that have it: a running one, in
              which the examples of a step weigh 0.99 of those of the next
    ========  =========================================================================================

    With ``drop`` an example loses each of its columns with that probability in training, but never the last one:
    modality dropout. Examples without a class (−1) count for nothing.

    Args:
        towers: by column, any number of them.
        recipe: gives the width of h.
        target: the label that is learned.
        operator: ⊕.
        fill: what stands in for what is missing.
        drop: the probability that a column is dropped in training.
        hidden: the width of the hidden layer of C.

    Raises:
        ValueError: without a label.
    """

    papers = ("multimodn",)
    needs: ClassVar[Needs] = Needs(1, None)
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        operator: Operator = "concat",
        fill: Filling = "zero",
        drop: BelowOne = 0.0,
        hidden: Natural = 256,
    ) -> None:
        super().__init__(towers, target)
        classes = self.told().classes
        width = recipe.widths.embedding
        self.projections.update(linear_heads(towers, width))
        joined = width * (len(towers) if operator == "concat" else 1)
        self.classifier = mlp(joined, hidden, len(classes), layers=2, norm=False)
        self.operator, self.fill, self.drop = operator, fill, drop
        averaged = towers if fill == "mean" else ()
        self.means = nn.ModuleDict({column: RunningMean(width) for column in averaged})

    @property
    def shares_space(self) -> bool:
        return False

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        there = {column: batch.has(column) for column in self.columns}
        return self.decide(self.filled(self.projected(z), there))

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        there = self.kept({column: batch.has(column) for column in self.columns})
        return {"late": self.cross_entropy(self.decide(self.filled(self.projected(z), there)), batch)}

    def projected(self, z: Embeddings) -> Embeddings:
        """Return h of every column, of an example without it that of features of 0."""
        return {column: self.project(column, z[column], "global") for column in self.columns}

    def kept(self, there: Mapping[str, Bool[Tensor, " B"]]) -> dict[str, Bool[Tensor, " B"]]:
        """Return which columns of every example are left by modality dropout."""
        if not self.drop:
            return dict(there)
        has = torch.stack(list(there.values()), 1)
        draws = torch.rand(has.shape).to(has.device).masked_fill(~has, -1.0)
        # The one with the highest draw stays whatever happens.
        left = (draws >= self.drop) | (draws == draws.amax(1, keepdim=True))
        return dict(zip(there, (left & has).unbind(1), strict=True))

    def filled(
        self, h: Embeddings, there: Mapping[str, Bool[Tensor, " B"]]
    ) -> dict[str, Float[Tensor, "B d"]]:
        """Return h with something in place of what is missing."""
        instead = self.stand_ins(h, there)
        return {c: torch.where(there[c][:, None], h[c], instead[c].to(h[c])) for c in self.columns}

    def stand_ins(self, h: Embeddings, there: Mapping[str, Bool[Tensor, " B"]]) -> Embeddings:
        """Return what stands in for each column's features, one for all examples or one each."""
        if self.fill == "zero":
            return {column: torch.zeros_like(h[column][:1]) for column in self.columns}
        return {column: mean.value for column, mean in self._means()}

    def decide(self, h: Embeddings) -> Float[Tensor, "B classes"]:
        """Return the logits of the classes from the features of all columns."""
        each = [h[column] for column in self.columns]
        if self.operator == "concat":
            return self.classifier(torch.cat(each, 1))
        stacked = torch.stack(each)
        if self.operator == "mean":
            return self.classifier(stacked.mean(0))
        return self.classifier(stacked.prod(0) if self.operator == "mul" else stacked.amax(0))

    def after_step(self, z: Embeddings, batch: Batch, clock: Clock) -> None:
        super().after_step(z, batch, clock)
        h = self.projected(z) if self.means else {}
        for column, mean in self._means():
            mean.add(h[column], batch.has(column))

    def _means(self) -> Iterator[tuple[str, RunningMean]]:
        for column, mean in self.means.items():
            assert isinstance(mean, RunningMean)
            yield column, mean
