"""The base of classifiers that are made of a frozen pair of towers and a few labelled examples."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from itertools import islice
from typing import ClassVar, Literal, Self, TypedDict

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..networks.base import TextTower, Towers
from ..networks.towers.parts.regions import grid
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target, TrainingExamples
from .base import ONCE
from .classifying import Classifying
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import distinct

TEXT = "text"
"""The name of the tower that reads the names of classes, and of its head."""
_NAMES = 256
"""Names of classes that go through the text tower together, at most."""


class AdaptingOptions(TypedDict, total=False):
    """Options of all methods that adapt a frozen pair."""

    template: str


class PairScale(nn.Module):
    """The scale and the bias of a pair's similarities: ``logit = cosine / τ + b``.

    Its parameters have the names that they have in the losses of dual encoders, so that a run that is gone on from
    lends its own.

    Args:
        scale: 1/τ and b of a library's pair; 1/0.07 and 0 unless given.
    """

    def __init__(self, scale: tuple[float, float | None] | None = None) -> None:
        super().__init__()
        inverse, bias = scale or (1 / 0.07, None)
        self.temperature = Temperature(1 / inverse)
        self.bias = nn.Parameter(torch.tensor(bias or 0.0))

    def forward(self, cosines: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.temperature.scale(cosines) + self.bias


class Adapting(Classifying):
    """A classifier of one column, made of a frozen pair of towers and a few labelled examples.

    The pair is that of the run that is gone on from (``from=RUN``), or of a library's model. Nothing of it moves.
    Features of the examples are computed once, and the method is fitted to them before the first step; the run takes
    no step. So the recipe's optimiser and number of steps have no effect: each method has the schedule of its paper.

    Args:
        towers: the tower of the column, and that of texts, which reads the names of the classes.
        recipe: gives the width of the pair's common space.
        target: the label that is learned.
        template: the text that names a class, with ``{}`` in the place of its name.

    A subclass that learns tags states so in ``learns``. With tags, the similarities of the pair get one intercept for
    all tags, which labelled examples set (`calibrate`). It does not change the order of examples by a tag.

    Attributes:
        names: it needs the text tower of the pair although it reads no column of texts.
        starts_as_zero_shot: before it is fitted it scores as `ZeroShotPair` does.
        renames: it can tell other classes apart by their names; see `renamed`.
        reads: what `fit` and `scores` get of a picture: its feature, or its feature followed by those of its patches;
            see `read_patches`.
        texts: the unit-norm features of the names of the classes.
        intercept: of the similarities of tags; 0 with classes.

    Raises:
        ValueError: without a label, for a template without ``{}``, and for two classes of one name.
    """

    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    names: ClassVar[bool] = True
    closed: ClassVar[bool] = True
    starts_as_zero_shot: ClassVar[bool] = True
    renames: ClassVar[bool] = False
    reads: Literal["feature", "patches"] = "feature"
    epoch_start_every = ONCE
    default_label: ClassVar[str] = "group"
    texts: Tensor
    intercept: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        template: str = "a photo of a {}.",
    ) -> None:
        column = next(iter(towers))
        super().__init__(dict([*towers.items()][: self.needs.least]), target)
        if "{}" not in template:
            raise ValueError(f"template={template!r} has no {{}} in the place of the name of a class")
        classes = self.required_target().classes
        if len(set(classes)) < len(classes):
            twice = next(name for name in classes if classes.count(name) > 1)
            raise ValueError(f"two classes of {self.required_target().label} are called {twice!r}")
        self.template, self.column = template, column
        self.name_tower = next((name for name, tower in towers.items() if isinstance(tower, TextTower)), "")
        if not self.name_tower:
            raise ValueError(
                f"{type(self).__name__} needs a text tower, which reads the names of the classes"
            )
        self.towers = nn.ModuleDict(distinct(towers))
        width = recipe.widths.embedding
        self.projections = nn.ModuleDict(linear_heads(towers, width))
        self.objective = PairScale(getattr(towers[column], "scale", None))
        self.register_buffer("texts", torch.zeros(len(classes), width))
        # A constant keeps the order of examples by a tag, and probabilities of tags from 1, where they would be equal.
        self.register_buffer("intercept", torch.zeros(()))
        for tower in towers.values():
            tower.frozen = True
            tower.eval()
        self.requires_grad_(False)

    @property
    def width(self) -> int:
        return int(self.texts.shape[1])

    @property
    def of_tags(self) -> bool:
        """True where several of the label's names may apply to an example."""
        return self.required_target().kind == "tags"

    def shared(self, z: Float[Tensor, "n w"]) -> Float[Tensor, "n d"]:
        """Return the unit-norm features in the pair's common space of what the tower of the column said."""
        return F.normalize(self.project(self.column, z, "global"), dim=-1)

    def read_patches(self) -> None:
        """Give `fit` and `scores` the features of patches too: ``(n, 1 + patches, w)``, that of the picture first.

        Raises:
            LookupError: for a column that is not of pictures, and a tower without features of patches.
        """
        grid(self.image_tower)
        # What is remembered of a tower are features of whole pictures.
        self.image_tower.read = True
        self.reads = "patches"

    def seen(self, column: str, inputs: Tensor) -> Embeddings:
        if self.reads == "feature" or column != self.column:
            return super().seen(column, inputs)
        summary, maps = self.image_tower.summary_and_patches(inputs)
        return {column: torch.cat([summary[:, None], maps.flatten(2).mT], 1)}

    def shared_patches(self, z: Float[Tensor, "n p w"]) -> Float[Tensor, "n p d"]:
        """Return unit-norm features in the common space of pictures and their patches, as `read_patches` has them."""
        return self.shared(z.flatten(0, 1)).view(*z.shape[:2], -1)

    def class_features(self, names: Sequence[str]) -> Float[Tensor, "C d"]:
        """Return the unit-norm features of the names of classes, in the template."""
        prompts = [self.template.replace("{}", name) for name in names]
        starts = range(0, len(prompts), _NAMES)
        return torch.cat([self.embedded_texts(prompts[at : at + _NAMES]) for at in starts])

    def embedded_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Return the unit-norm features of texts."""
        tower = self.text_tower
        tokens = tower.tokenizer(texts).to(self.texts.device)
        return self.projected_texts(tower.compute(tokens))

    def projected_texts(self, features: Float[Tensor, "n w"]) -> Float[Tensor, "n d"]:
        """Return unit-norm features in the common space of what the text tower said."""
        return F.normalize(self.projections[self.name_tower](features), dim=-1)

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        device, labels = self.texts.device, self.classes(examples)
        z = examples.map(lambda batch: self.seen(self.column, batch[self.column])[self.column])
        known = self.labelled(labels)
        self.begin()
        with torch.enable_grad(), torch.autocast(device.type, enabled=False):
            self.fit(z[known].to(self.texts), labels[known].to(device))

    def labelled(self, labels: Int[Tensor, "N ..."]) -> Bool[Tensor, " N"]:
        """Return which examples have a class, or a tag of which it is known whether it applies."""
        return (labels >= 0).any(1) if self.of_tags else labels >= 0

    def begin(self) -> None:
        """Set all that `fit` starts from."""
        self.begin_names()

    def renamed(self, names: Sequence[str]) -> Self:
        """Return the same model for other classes, which it knows by their names alone.

        Raises:
            LookupError: for a method that has learned something of each class by itself.
        """
        if not self.renames:
            raise LookupError(
                f"{type(self).__name__} learns something of each class, and cannot tell classes apart by names alone"
            )
        other = copy(self)
        other.target = replace(self.required_target(), classes=tuple(names))
        # A buffer of its own; all else is shared.
        other._buffers = dict(self._buffers)
        other.texts = self.texts.new_empty(len(names), self.texts.shape[1])
        with torch.no_grad():
            other.begin_names()
        return other

    def begin_names(self) -> None:
        """Compute the features of the names of the classes."""
        self.texts.copy_(self.class_features(self.required_target().classes))

    @abstractmethod
    def fit(self, z: Float[Tensor, "N w"], labels: Int[Tensor, "N ..."]) -> None:
        """Learn from the features of the labelled examples, as the tower of the column gives them.

        Called with gradient. What is learned is written into parameters and buffers that take none.

        Args:
            z: the features.
            labels: the class of each example; of tags 1, 0, or −1 where it is not known whether the tag applies.
        """

    @abstractmethod
    def scores(self, z: Float[Tensor, "B w"]) -> Float[Tensor, "B C"]:
        """Return the logits of the classes, from the features of the tower of the column."""

    def zero_shot_scores(self, v: Float[Tensor, "B d"]) -> Float[Tensor, "B C"]:
        """Return the logits of the pair itself, from unit-norm features."""
        return self.objective(v @ self.texts.T) + self.intercept

    def calibrate(self, v: Float[Tensor, "N d"], labels: Int[Tensor, "N C"]) -> None:
        """Set the intercept of tags for the logits of the pair itself; see `set_intercept`.

        Args:
            v: the unit-norm features of the labelled examples.
            labels: their tags.
        """
        self.set_intercept(self.objective(v @ self.texts.T), labels)

    @torch.no_grad()
    def set_intercept(self, logits: Float[Tensor, "N C"], labels: Int[Tensor, "N C"]) -> None:
        """Set the intercept of tags so that the mean probability of known tags is the share of those that apply.

        This is its maximum-likelihood value. The share is ``(positives + 1/2) / (known + 1)``, so that it is finite.

        Args:
            logits: of the labelled examples, without an intercept.
            labels: their tags.
        """
        known = labels >= 0
        scores = logits[known].double()
        share = ((labels == 1).sum() + 0.5) / (known.sum() + 1.0)
        low, high = -scores.max() - 40, -scores.min() + 40
        for _ in range(60):
            middle = (low + high) / 2
            too_low = (scores + middle).sigmoid().mean() < share
            low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
        self.intercept.copy_(middle)

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        return self.scores(z[self.column])

    def probabilities(self, logits: Float[Tensor, "B classes"]) -> Float[Tensor, "B classes"]:
        return logits.sigmoid() if self.of_tags else super().probabilities(logits)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        logits = self.logits(z, batch)
        if self.of_tags:
            return {"bce": label_loss(logits, self.classes(batch))}
        return {"cross_entropy": self.cross_entropy(logits, batch)}

    def passes(self) -> dict[str, float]:
        return {self.tower(column).modality: 0.0 for column in self.columns}

    def passes_of_all(self) -> dict[str, float]:
        return {self.tower(column).modality: 1.0 for column in self.columns}


def label_loss(scores: Float[Tensor, "B C"], labels: Int[Tensor, "B ..."]) -> Float[Tensor, ""]:
    """Compute the cross-entropy of classes, or the binary cross-entropy of known tags as in `BCELoss`."""
    if labels.ndim == 1:
        return F.cross_entropy(scores, labels)
    terms = F.binary_cross_entropy_with_logits(scores, (labels == 1).to(scores), reduction="none")
    return terms.masked_fill(labels < 0, 0.0).sum(1).mean()


def descend(
    parameters: Sequence[Tensor],
    loss: Callable[[Int[Tensor, " B"]], Float[Tensor, ""]],
    rows: int,
    *,
    lr: float,
    epochs: int,
    batch: int,
    most: int | None = None,
    warm_up: float | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] | None = None,
) -> None:
    """Minimise a loss over some rows in place: shuffled batches, a rate that falls to 0 by a cosine.

    The parameters take gradients meanwhile, and none afterwards.

    Args:
        parameters: that move.
        loss: the mean loss of the rows with some numbers.
        rows: how many there are.
        lr: the highest rate.
        epochs: over the rows.
        batch: rows of a step.
        most: steps, at most; the whole course is shortened to that.
        warm_up: the rate of the first epoch; it has that of the cosine unless given.
        optimizer: SGD with a momentum of 0.9 unless given.
    """
    of_epoch = -(-rows // batch)
    steps = epochs * of_epoch if most is None else min(epochs * of_epoch, most)
    for parameter in parameters:
        parameter.requires_grad_(True)
    chosen = (optimizer or _sgd)(parameters, lr=lr)
    order = (part for _ in range(epochs) for part in torch.split(torch.randperm(rows), batch))
    for step, part in enumerate(islice(order, steps)):
        warms = warm_up is not None and step < steps // epochs
        rate = (1 + math.cos(math.pi * step / steps)) / 2
        for group in chosen.param_groups:
            group["lr"] = warm_up if warms else lr * rate
        chosen.zero_grad()
        torch.autograd.backward(loss(part.to(parameters[0].device)))
        chosen.step()
    for parameter in parameters:
        parameter.requires_grad_(False)
        parameter.grad = None


def _sgd(parameters: Sequence[Tensor], lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)
