"""LMPT: a context of each class for rare tags, which the captions of pictures also teach."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Unpack

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count, Finite, Fraction, NonNegative, Positive
from ..losses import ClassEmbeddingLoss, DistributionBalancedLoss
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Batch, StepInfo, Target, TrainingExamples
from ._adapting import AdaptingOptions, descend
from .base import Ranges
from .coop import CoOp
from .needs import Needs


class LMPT(CoOp):
    """`CoOp` with vectors of each class, a loss for rare tags, and the captions of the labelled examples.

        L = λ L_DB(s, y) / C + (1 − λ) L_CSE(captions, t, y)

    L_DB is `DistributionBalancedLoss`, divided by the number of tags, and L_CSE is `ClassEmbeddingLoss` of the pooled
    features of captions and prompts. Frequencies are those of the known tags. The loss is minimised by SGD with a
    momentum of 0.9 and a weight decay of 1e-4, in batches of 64. Captions are read in training alone, which leaves out
    examples without one. A picture is classified by itself.

    The published code lowers the rate by the validation score. Here it falls by a cosine, as no further labels are
    read. With ``weight=1`` captions have no effect.

    Args:
        towers: the tower of the pictures, and that of the captions and the names.
        recipe: gives the width of the pair's common space.
        target: the label, of tags.
        weight: λ.
        margin, margin_power, weight_power: of `ClassEmbeddingLoss`.
        mu, negative_scale: of `DistributionBalancedLoss`.
        intercept: fit an intercept of the logits before the vectors learn. The published code has none, so that its
            sigmoids begin where they are flat.
        shuffled: exchange the captions among the examples, as a control.
        words: that the vectors start from; ``none`` for vectors that are drawn.
        vectors: the number of vectors that are drawn.
        lr: the highest rate.
        epochs: over the labelled examples.
        steps: at most; the published schedule has no such limit.
        options: see `Adapting`; the template is not used.

    Source: Xia et al., "LMPT: Prompt Tuning with Class-Specific Embedding Loss for Long-tailed Multi-Label Visual
    Recognition" (2023), arXiv 2305.04536, and its code, richard-peng-xia/LMPT. There contexts of each class need drawn
    vectors.
    """

    family = "few labels"
    papers = ("lmpt",)
    tunable: ClassVar[Ranges] = {"lr": (1e-4, 2e-3)}
    needs: ClassVar[Needs] = Needs(2, 2, second="text")
    learns = ("tags",)
    default_label: ClassVar[str] = "tags"
    starts_as_zero_shot = False
    renames = False
    context_of_class = True
    epochs: int

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        weight: Fraction = 0.5,
        margin: NonNegative = 0.2,
        margin_power: NonNegative = 0.25,
        weight_power: NonNegative = 2.0,
        mu: Finite = 0.2,
        negative_scale: Positive = 2.0,
        intercept: bool = True,
        shuffled: bool = False,
        words: str | None = None,
        vectors: Count = 16,
        lr: Positive = 5e-4,
        epochs: Count = 50,
        steps: Count = 400,
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(
            towers,
            recipe,
            target=target,
            words=words,
            vectors=vectors,
            lr=lr,
            epochs=epochs,
            steps=steps,
            **options,
        )
        _, self.captions = self.columns
        self.weight, self.starts_with_intercept, self.shuffled = weight, intercept, shuffled
        self.balanced = DistributionBalancedLoss(mu=mu, negative_scale=negative_scale)
        self.embedding = ClassEmbeddingLoss(margin, margin_power=margin_power, weight_power=weight_power)

    @property
    def required(self) -> tuple[str, ...]:
        return (self.column,)

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        captions = examples.map(lambda batch: self._caption(batch))
        self._captions = captions[self.labelled(self.classes(examples))]
        super().on_epoch_start(examples, clock)
        del self._captions

    def _caption(self, batch: Batch) -> Float[Tensor, "B d"]:
        return self.projected_texts(self.text_tower.compute(batch[self.captions]))

    def fit(self, z: Float[Tensor, "N w"], labels: Int[Tensor, "N ..."]) -> None:
        v, names = self.shared(z).detach(), self.required_target().classes
        captions = self._captions.to(v)
        if self.shuffled:
            captions = captions[torch.randperm(len(captions)).to(v.device)]
        if self.starts_with_intercept:
            self.calibrate(v, labels)
        targets, known = labels == 1, labels >= 0
        counts = targets.sum(0).to(v)
        frequency = counts / known.sum(0).clamp_min(1)
        scale = self.objective.temperature.inverse().to(v)
        bias = (self.objective.bias + self.intercept).expand(len(names))

        def loss(rows: Int[Tensor, " B"]) -> Float[Tensor, ""]:
            t, of_rows = self.class_features(names), {"targets": targets[rows], "known": known[rows]}
            balanced = self.balanced(scale * v[rows], t, frequency, bias, **of_rows) / len(names)
            return self.weight * balanced + (1 - self.weight) * self.embedding(
                captions[rows], t, counts, **of_rows
            )

        descend(
            [self.prompts.context],
            loss,
            len(v),
            lr=self.lr,
            epochs=self.epochs,
            batch=64,
            most=self.steps,
            optimizer=partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-4),
        )
        self.begin_names()
        self.calibrate(v, labels)
