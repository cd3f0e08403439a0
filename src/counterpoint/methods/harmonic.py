"""Harmonic loss: classes are centres, and an example is of the class whose centre is nearest by ratio."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ..forms import NonNegative, Positive
from ..losses import HarmonicLoss
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Target
from ._scores import ClassScores


class Harmonic(ClassScores):
    """``p_c ∝ ‖f(x) − w_c‖^−n``, L = −log p_y, on the features f(x) of one column.

    The rest is as in `CrossEntropy`, whose ``head=distance`` is the Gaussian form of the same head: what tells them
    apart is the inverse power.

    Args:
        towers: the tower, by its column.
        recipe: unused: the head is as wide as the tower.
        target: the label that is learned.
        exponent: n; the root of the tower's width unless given.
        mixup: α; 0 for no blends.

    Raises:
        ValueError: without a label.

    Source: Baek et al., "Harmonic Loss Trains Interpretable AI Models" (2025), arXiv 2502.01628.
    """

    family = "supervised"
    papers = ("harmonic-loss",)
    name = "harmonic"

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        exponent: Positive | None = None,
        mixup: NonNegative = 0.0,
    ) -> None:
        super().__init__(towers, recipe, target=target, head="distance", mixup=mixup)
        self.objective = HarmonicLoss(exponent)

    def loss(
        self, features: Float[Tensor, "B W"], labels: Tensor, weights: Float[Tensor, " B"] | None
    ) -> Float[Tensor, ""]:
        return self.objective(features, self.head.weight, labels=labels, weights=weights)

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        (column,) = self.columns
        return self.objective.scores(z[column], self.head.weight)
