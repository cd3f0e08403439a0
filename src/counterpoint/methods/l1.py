"""Regression by L1: a number of each example, read off the features of one column."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..networks.base import Towers
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Kind, StepInfo, Target, TrainingExamples
from .needs import Needs
from .tower_method import TowerMethod, paired


class L1(TowerMethod):
    """``L = mean_i |w · f(x_i) + b − (y_i − μ) / s|``, with μ and s the mean and the deviation of training numbers.

    The plain thing that methods of numbers have to beat. An example without a number counts for nothing. A user gets
    the tower's features.

    Args:
        towers: the tower, by its column.
        recipe: unused: the head is as wide as the tower.
        target: the label, one of numbers.

    Raises:
        ValueError: without a label.
    """

    family = "supervised"
    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    learns: ClassVar[tuple[Kind, ...]] = ("numbers",)
    papers = ("supremix",)
    epoch_start_every = 1
    scale: Tensor

    def __init__(self, towers: Towers, recipe: Recipe, *, target: Target | None = None) -> None:
        super().__init__(towers)
        if target is None:
            raise ValueError(
                "l1 learns a number of each example: name a label of numbers with --labels NAME (counterpoint data "
                "describe lists them)"
            )
        ((_, tower),) = towers.items()
        self.views, self.label = paired(towers), target.label
        self.head = nn.Linear(tower.width, 1)
        self.register_buffer("scale", torch.tensor([0.0, 1.0]))  # μ and s

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        known = examples.labels[self.label]
        known = known[known.isfinite()].double()
        spread = known.std(correction=0)
        # Of numbers that are all the same there is nothing to learn but that one.
        self.scale.copy_(torch.stack([known.mean(), spread if spread > 0 else torch.ones_like(spread)]))

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        (column,) = self.columns
        y = batch.labels[self.label]
        known = y.isfinite()
        mean, spread = self.scale
        terms = (self.head(z[column])[:, 0] - torch.where(known, (y - mean) / spread, 0.0)).abs()
        return {"l1": moments.mean(terms, known.to(terms.dtype), ranks=Ranks.present())}
