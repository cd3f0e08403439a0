"""The base of methods that score the classes of a label from one column."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from ...forms import NonNegative, Positive
from ...networks.base import Towers
from ...networks.heads import ClassHead, HeadKind
from ...networks.mixup import PARTNER, SHARE, mixup
from ...recipes.schema import Recipe
from ...types import Batch, Clock, Embeddings, Target
from ..classifying import Classifying
from ..needs import Needs


class ScoreOptions(TypedDict, total=False):
    """Options of methods that score classes, see `CrossEntropy`: head (linear), temperature (0.05) and mixup (0)."""

    head: HeadKind
    temperature: Positive
    mixup: NonNegative


class ClassScores(Classifying):
    """The base of methods whose loss is of class scores; see `CrossEntropy`.

    Args:
        towers: the tower, by its column.
        recipe: unused: the head is as wide as the tower.
        target: the label that is learned.
        head: how classes score.
        temperature: τ, of cosines.
        mixup: α; 0 for no blends.

    Raises:
        ValueError: without a label.
    """

    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    default_label: ClassVar[str] = "group"
    name: ClassVar[str]

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None,
        head: HeadKind = "linear",
        temperature: Positive | None = None,
        mixup: NonNegative = 0.0,
    ) -> None:
        super().__init__(towers, target)
        (tower,) = towers.values()
        self.head = ClassHead(tower.width, len(self.told().classes), head, temperature)
        self.alpha, self.draws = mixup, mixup > 0

    def prepare(self, batch: Batch, clock: Clock) -> Batch:
        return mixup(batch, self.alpha) if self.alpha else batch

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        (column,) = self.columns
        features, labels, weights = z[column], self.classes(batch), None
        if self.alpha:
            # λ loss(y) + (1 − λ) loss(y of the partner), as one loss of twice as many rows.
            share = batch.labels[SHARE].to(features)
            features, weights = torch.cat([features, features]), torch.cat([share, 1 - share])
            labels = torch.cat([labels, self.classes(batch, PARTNER)])
        return {self.name: self.loss(features, labels, weights)}

    @abstractmethod
    def loss(
        self, features: Float[Tensor, "B W"], labels: Tensor, weights: Float[Tensor, " B"] | None
    ) -> Float[Tensor, ""]:
        """Compute the loss of features and their labels; weights stand at 1 unless given."""

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        (column,) = self.columns
        return self.head.scores(z[column])
