"""The base of methods that score the classes of a label from one column."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.nouns import nouns
from ..forms import Fraction, NonNegative, Positive
from ..networks.base import Towers
from ..networks.heads import ClassHead, HeadKind
from ..networks.mixup import PARTNER, SHARE, mixup
from ..networks.weights import is_restored
from ..recipes.schema import Recipe
from ..registry import load
from ..types import Batch, Embeddings, StepInfo, Target
from .classifying import Classifying
from .dropout import Rates, check_rates, dropped, listed
from .needs import Needs


class ScoreOptions(TypedDict, total=False):
    """Options of methods that score classes, see `CrossEntropy`; heads are linear, and a temperature is 0.05."""

    head: HeadKind
    temperature: Positive
    mixup: NonNegative
    dropout: Fraction | Rates
    start: str


class ClassScores(Classifying):
    """The base of methods whose loss is of class scores; see `CrossEntropy`.

    Args:
        towers: the tower, by its column.
        recipe: unused: the head is as wide as the tower.
        target: the label that is learned.
        head: how classes score.
        temperature: τ, of cosines.
        mixup: α; 0 for no blends.
        dropout: a rate, or several, under each of which an example is seen.
        start: a run that classified by nouns, whose vectors of classes called so the head starts from.

    Raises:
        ValueError: without a label, for a start that cannot be one, and for dropout that the tower cannot have.
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
        dropout: Fraction | Rates = 0.0,
        start: str = "",
    ) -> None:
        super().__init__(towers, target)
        ((column, tower),) = towers.items()
        self.by_view: tuple[float, ...] = ()
        if (rates := listed(dropout)) != (0.0,):
            check_rates(rates, tower)
            self.by_view, self.dropout = rates, max(rates)
            self.views = {f"{column}.{number}": self.views[column] for number in range(1, 1 + len(rates))}
        # Those of its own alone: a method that adds to it may have other views beside.
        self.scored = tuple(self.views)
        self.head = ClassHead(tower.width, len(self.required_target().classes), head, temperature)
        self.alpha, self.draws = mixup, mixup > 0
        if start and not is_restored():
            self.head.starts = self._named(start)

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        return mixup(batch, self.alpha) if self.alpha else batch

    def numbers(self) -> dict[str, float]:
        """Return the mean norm of the class vectors, which grows on where a loss is least at infinity."""
        return {"class_norm": float(self.head.weight.detach().norm(dim=1).mean())}

    def encode(self, batch: Batch) -> Embeddings:
        if not self.by_view:
            return super().encode(batch)
        (column,) = self.columns
        return dropped(self.tower(column), {name: batch[name] for name in self.scored}, self.by_view)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        # The mean over views, as one loss of so many times as many rows.
        views = len(self.scored)
        features, weights = torch.cat([z[name] for name in self.scored]), None
        labels = torch.cat(views * [self.classes(batch)])
        if self.alpha:
            # λ loss(y) + (1 − λ) loss(y of the partner), as one loss of twice as many rows.
            share = batch.labels[SHARE].to(features).repeat(views)
            features, weights = torch.cat([features, features]), torch.cat([share, 1 - share])
            labels = torch.cat([labels, *views * [self.classes(batch, PARTNER)]])
        return {self.name: self.loss(features, labels, weights)}

    @abstractmethod
    def loss(
        self, features: Float[Tensor, "B W"], labels: Tensor, weights: Float[Tensor, " B"] | None
    ) -> Float[Tensor, ""]:
        """Compute the loss of features and their labels; weights stand at 1 unless given."""

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        (column,) = self.columns
        return self.head.scores(z[column])

    def _named(self, start: str) -> dict[int, tuple[Tensor, float]]:
        """Return vector and bias of each class that is called by a noun which a run learned, by the class's number."""
        # By name, as rooms import downwards only.
        model = load("counterpoint.models:load")(start)
        if not isinstance(model, ClassScores) or model.head.weight.shape[1] != self.head.weight.shape[1]:
            raise ValueError(
                f"start={start!r} is no run of a classifier on a tower of this width; name one of catlip, and its "
                "tower too, image=TOWER@RUN"
            )
        learned = {name: number for number, name in enumerate(model.required_target().classes)}
        weights = model.head.weight.detach()
        biases = torch.zeros(len(weights)) if model.head.bias is None else model.head.bias.detach()
        parameters = {}
        for number, name in enumerate(self.required_target().classes):
            # A name of several nouns is none of them.
            if len(words := nouns(name)) == 1 and (noun := next(iter(words))) in learned:
                parameters[number] = weights[learned[noun]], float(biases[learned[noun]])
        if not parameters:
            raise ValueError(
                f"start={start!r} knows no noun that a class of {self.required_target().label} is called by"
            )
        return parameters
