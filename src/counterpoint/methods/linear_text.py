"""A cosine classifier that starts at the names of the classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count, Positive
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._adapting import Adapting, AdaptingOptions, descend
from .base import Ranges

Penalty = Callable[[Tensor], Tensor]


class LinearText(Adapting):
    """``s_c = cos(v, w_c) / τ``; the vectors w start at the features t of the names of the classes.

        L = CE(s, y)

    It is minimised by SGD with a momentum of 0.9 and a rate that falls by a cosine, in batches of 256. No schedule was
    published for this baseline: the one here is that of `CLAP`, which adds a penalty.

    Args:
        towers: the tower of the column, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label.
        lr: the highest rate.
        epochs: over the labelled examples.
        options: see `Adapting`.
    """

    family = "few labels"
    tunable: ClassVar[Ranges] = {"lr": (0.025, 0.4)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        lr: Positive = 0.1,
        epochs: Count = 300,
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        self.lr, self.epochs = lr, epochs
        self.weight = nn.Parameter(torch.zeros_like(self.texts), requires_grad=False)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)

    def begin(self) -> None:
        super().begin()
        self.weight.copy_(self.texts)

    def fit(self, z: Float[Tensor, "N w"], classes: Int[Tensor, " N"]) -> None:
        v = self.shared(z).detach()
        penalty = self.penalty(v, classes)
        descend(
            [self.weight],
            lambda rows: F.cross_entropy(self._scores(v[rows]), classes[rows]) + penalty(self.weight),
            len(v),
            lr=self.lr,
            epochs=self.epochs,
            batch=256,
        )

    def penalty(self, v: Float[Tensor, "N d"], classes: Int[Tensor, " N"]) -> Penalty:
        """Return what is added to the loss, as a function of the vectors."""
        return lambda weight: weight.new_zeros(())

    def scores(self, z: Float[Tensor, "B w"]) -> Float[Tensor, "B C"]:
        return self._scores(self.shared(z))

    def _scores(self, v: Float[Tensor, "B d"]) -> Float[Tensor, "B C"]:
        return self.objective(v @ F.normalize(self.weight, dim=-1).T)
