"""Logit adjustment: cross-entropy in which frequent classes have a start, for labels with a long tail."""

from __future__ import annotations

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Fraction, NonNegative
from ..losses import LogitAdjustedLoss
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import StepInfo, Target, TrainingExamples
from ._priors import class_priors
from ._scores import ClassScores, ScoreOptions


class LogitAdjusted(ClassScores):
    """``L = CE(s + τ log π, y)``; π the shares of the classes among the training examples, counted at the start.

    Afterwards (`classify`) the scores stand without τ log π: classes are taken to be equally frequent. The rest is as
    in `CrossEntropy`.

    Args:
        towers: the tower, by its column.
        recipe: unused: the head is as wide as the tower.
        target: the label that is learned.
        tau: τ.
        smoothing: the part of the target that all classes share.
        options: head, temperature, mixup and dropout of `CrossEntropy`.

    Raises:
        ValueError: without a label, and for a temperature of another head than cosines.

    Source: Menon et al., "Long-tail learning via logit adjustment" (2021), arXiv 2007.07314; the baseline of Suh and
    Seo (2023), arXiv 2305.01160.
    """

    family = "supervised"
    papers = ("gml",)
    name = "logit_adjusted"
    epoch_start_every = 1
    prior: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        tau: NonNegative = 1.0,
        smoothing: Fraction = 0.0,
        **options: Unpack[ScoreOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        self.objective = LogitAdjustedLoss(tau, smoothing=smoothing)
        classes = len(self.required_target().classes)
        self.register_buffer("prior", torch.full((classes,), 1 / classes))

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        self.prior.copy_(class_priors(self.classes(examples), len(self.prior)))

    def loss(
        self, features: Float[Tensor, "B W"], labels: Tensor, weights: Float[Tensor, " B"] | None
    ) -> Float[Tensor, ""]:
        z, bank, bias = self.head(features)
        return self.objective(z, bank, self.prior, bias, labels=labels, weights=weights)
