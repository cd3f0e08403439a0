"""Late fusion: features of any columns, joined by one operation, and a classifier of what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..forms import BelowOne, Natural, NonNegative
from ..networks.base import Towers
from ..networks.fusion.operators import OPERATORS, matched, size_of
from ..networks.heads import mlp
from ..pairwise.inputs import upcast
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target
from ._prediction import LinearMaps, Prediction, joined
from ._running import RunningMean
from .base import Ranges
from .classifying import Classifying
from .dual_encoder import linear_heads
from .needs import Needs

Operator = Literal["concat", "mean", "mul", "max", "full", "mcb", "mlb", "mutan", "mfb", "mfh", "block"]
"""Choices of how features are joined: side by side; entry by entry their mean, product or maximum; or by one of
`counterpoint.networks.fusion.operators.OPERATORS`."""
Filling = Literal["zero", "mean", "linear", "predicted"]
"""Choices of what stands in for the features of a column that an example lacks."""


class Late(Classifying):
    """``p = softmax(C(h_1 ⊕ … ⊕ h_N))``, h_m = W_m f_m(x_m) the features of a column; L = CE(p, y).

    Stand-ins for the features of a column that an example lacks:

    =============  ====================================================================================
    ``zero``       0
    ``mean``       the mean of the column's features over the training examples that have it: a running
                   one, in which the examples of a step weigh 0.99 of those of the next
    ``linear``     the mean of what least-squares maps of the features of the columns that are there say, over
                   the same examples (`LinearMaps`): what a prediction that is learned has to beat; 0 without any
    ``predicted``  ĥ, the mean of what the columns that are there predict (`Prediction`); 0 without any
    =============  ====================================================================================

    Predictors learn by VICReg from the examples that have both columns, and C learns beside that from features of
    which one is replaced by its prediction, column for column, so that it knows what predictions look like:

        L = CE(p, y) + 1/N Σ_m CE(p with ĥ_m for h_m, y) + w mean_{a≠b} VICReg(g_ab(r_a), h_b)

    r_a is read from a's tower by prompts that no other token sees, so that features are exactly those without prompts.

    A bilinear operator joins two columns and gives the logits itself: C and ⊕ are one module. It is the widest one with
    at most as many parameters as the C of ``concat`` (`counterpoint.networks.fusion.operators`).

    With ``drop`` an example loses each of its columns with that probability in training, but never the last one:
    modality dropout. Examples without a class (−1) count for nothing.

    Args:
        towers: by column, any number of them.
        recipe: gives the width of h.
        target: the label that is learned.
        operator: ⊕.
        fill: what stands in for what is missing.
        drop: the probability that a column is dropped in training.
        hidden: the width of the hidden layer of C, and of the predictors; 0 for a linear C.
        prompts: of each column, where what is missing is predicted.
        weight: w.
        invariance, variance, covariance: the weights within VICReg.
        detach: whether features learn nothing from being predicted.

    Raises:
        ValueError: without a label, and for a bilinear operator of other than two columns.

    Source of the comparison of operators: Winterbottom et al., "Trying Bilinear Pooling in Video-QA" (2020), arXiv
    2012.10285.

    Source of ``predicted``: Kim and Kim, "Missing Modality Prediction for Unpaired Multimodal Learning via Joint
    Embedding of Unimodal Models" (2024), arXiv 2407.12616. No code was found; w, the weights within VICReg (its
    paper's; see `counterpoint.pairwise.moments.vicreg`) and the size of the predictors are choices of this library.
    """

    family = "fusion"
    papers = ("missing-modality-prediction", "bilinear-pooling-video-qa")
    tunable: ClassVar[Ranges] = {"weight": (0.01, 1.0)}
    needs: ClassVar[Needs] = Needs(1, None)
    incomplete: ClassVar[Literal["drop", "use"]] = "use"

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
        prompts: Natural = 4,
        weight: NonNegative = 1.0,
        invariance: NonNegative = 25.0,
        variance: NonNegative = 25.0,
        covariance: NonNegative = 1.0,
        detach: bool = False,
    ) -> None:
        super().__init__(towers, target)
        classes = self.required_target().classes
        width = recipe.widths.embedding
        self.projections.update(linear_heads(towers, width))
        side_by_side = operator == "concat" or operator in OPERATORS
        joined = width * (len(towers) if side_by_side else 1)
        layers = 2 if hidden else 1
        self.classifier: nn.Module = mlp(joined, hidden, len(classes), layers=layers, norm=False)
        if operator in OPERATORS:
            if len(towers) != 2:
                raise ValueError(
                    f"operator={operator} joins two columns, not {len(towers)}: name two with columns=A+B"
                )
            self.classifier = matched(operator, width, width, len(classes), size_of(self.classifier))
        self.operator, self.fill, self.drop, self.draws = operator, fill, drop, drop > 0
        averaged = towers if fill == "mean" else ()
        self.means = nn.ModuleDict({column: RunningMean(width) for column in averaged})
        self.maps = LinearMaps(towers, width) if fill == "linear" else None
        self.prediction = Prediction(towers, width, hidden, prompts) if fill == "predicted" else None
        self.weight, self.detach = weight, detach
        self.within = (invariance, variance, covariance)

    @classmethod
    def searched(cls, options: Mapping[str, object]) -> Ranges:
        return cls.tunable if options.get("fill") == "predicted" else {}

    @property
    def shares_space(self) -> bool:
        return False

    def outputs(self, column: str) -> tuple[str, ...]:
        return super().outputs(column) if self.prediction is None else self.prediction.outputs(column)

    def seen(self, column: str, inputs: Tensor) -> Embeddings:
        if self.prediction is None:
            return super().seen(column, inputs)
        return self.prediction.seen(column, self.tower(column), inputs)

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        there, h = {column: batch.has(column) for column in self.columns}, self.projected(z)
        if self.prediction is None:
            return self.decide(filled(h, self.unlearned(h, there), there))
        instead, _ = joined(self.prediction.of_pairs(z), there)
        return self.decide(filled(h, instead, there))

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        there = self.dropout_masks({column: batch.has(column) for column in self.columns})
        h = self.projected(z)
        if self.prediction is None:
            return {
                "late": self.cross_entropy(self.decide(filled(h, self.unlearned(h, there), there)), batch)
            }
        of_pairs = self.prediction.of_pairs(z)
        instead, known = joined(of_pairs, there)
        whole = filled(h, instead, there)
        replaced = [
            self.cross_entropy(
                self.decide({**whole, b: instead[b]}), batch, (there[b] & known[b]).to(h[b].dtype)
            )
            for b in self.columns
        ]
        targets = {column: each.detach() for column, each in h.items()} if self.detach else h
        return {
            "late": self.cross_entropy(self.decide(whole), batch),
            "replaced": torch.stack(replaced).mean(),
            "prediction": self.weight * self.prediction.loss(of_pairs, targets, there, self.within),
        }

    def projected(self, z: Embeddings) -> Embeddings:
        """Return h of every column, of an example without it that of features of 0."""
        return {column: self.project(column, z[column], "global") for column in self.columns}

    def dropout_masks(self, masks: Mapping[str, Bool[Tensor, " B"]]) -> dict[str, Bool[Tensor, " B"]]:
        """Return which columns of every example are left by modality dropout."""
        if not self.drop:
            return dict(masks)
        has = torch.stack(list(masks.values()), 1)
        draws = torch.rand(has.shape).to(has.device).masked_fill(~has, -1.0)
        # The one with the highest draw stays whatever happens.
        left = (draws >= self.drop) | (draws == draws.amax(1, keepdim=True))
        return dict(zip(masks, (left & has).unbind(1), strict=True))

    def unlearned(self, h: Embeddings, masks: Mapping[str, Bool[Tensor, " B"]]) -> Embeddings:
        """Return what stands in for the features of a column, where no predictor learns it."""
        if self.maps is not None:
            return joined(self.maps.of_pairs(h), masks)[0]
        if self.means:
            return {column: mean.value for column, mean in self._means()}
        return {column: torch.zeros((), device=of.device) for column, of in h.items()}

    def decide(self, h: Embeddings) -> Float[Tensor, "B classes"]:
        """Return the logits of the classes from the features of all columns."""
        each = [h[column] for column in self.columns]
        if self.operator == "concat":
            return self.classifier(torch.cat(each, 1))
        if self.operator in OPERATORS:
            return self.classifier(*each)
        stacked = torch.stack(each)
        if self.operator == "mean":
            return self.classifier(stacked.mean(0))
        return self.classifier(stacked.prod(0) if self.operator == "mul" else stacked.amax(0))

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        if self.maps is None and not self.means:
            return
        # Mixed precision is over by now: features may have 16 bits, and heads have 32.
        h = self.projected({name: upcast(features) for name, features in z.items()})
        for column, mean in self._means():
            mean.add(h[column], batch.has(column))
        if self.maps is not None:
            self.maps.add(h, {column: batch.has(column) for column in h})

    def _means(self) -> Iterator[tuple[str, RunningMean]]:
        for column, mean in self.means.items():
            assert isinstance(mean, RunningMean)
            yield column, mean


def filled(
    h: Embeddings, instead: Embeddings, masks: Mapping[str, Bool[Tensor, " B"]]
) -> dict[str, Float[Tensor, "B d"]]:
    """Return the features of every column with something in place of those that an example lacks."""
    return {c: torch.where(has[:, None], h[c], instead[c].to(h[c])) for c, has in masks.items()}
