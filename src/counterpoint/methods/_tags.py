"""The base of methods that learn tags, of which several may apply, from one column."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..losses import AsymmetricLoss
from ._scores import ClassScores


class TagScores(ClassScores):
    """The base of methods whose loss asks of every tag whether it applies; see `BCE`.

    Attributes:
        objective: the loss, of subclasses that have no ``loss`` of their own.
    """

    learns = ("tags",)
    default_label: ClassVar[str] = "tags"
    objective: AsymmetricLoss

    def loss(
        self, features: Float[Tensor, "B W"], labels: Tensor, weights: Float[Tensor, " B"] | None
    ) -> Float[Tensor, ""]:
        return self.objective(*self.head(features), targets=labels == 1, known=labels >= 0, weights=weights)

    def probabilities(self, logits: Float[Tensor, "B classes"]) -> Float[Tensor, "B classes"]:
        return logits.sigmoid()
