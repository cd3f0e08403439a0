"""CLIP-Adapter: a small perceptron beside the features of a frozen pair."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count, Fraction, Positive
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._adapting import Adapting, AdaptingOptions, descend
from .base import Ranges


class CLIPAdapter(Adapting):
    """``s_c = nz(r a(v) + (1 − r) v)·t_c / τ``, a(v) = relu(W_2 relu(W_1 v)).

    W_1 leads to a quarter of the width, and W_2 back. With r = 0 it is `ZeroShotPair`. The loss is cross-entropy,
    minimised by SGD with a momentum of 0.9 in batches of 32. The released code holds no configuration: the schedule is
    that of CoOp.

    Args:
        towers: the tower of the column, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label.
        ratio: r.
        lr: the highest rate.
        epochs: over the labelled examples.
        options: see `Adapting`.

    Source: Gao et al., "CLIP-Adapter: Better Vision-Language Models with Feature Adapters" (2021), arXiv 2110.04544,
    and its code, gaopengcuhk/CLIP-Adapter.
    """

    family = "few labels"
    tunable: ClassVar[Ranges] = {"ratio": (0.05, 0.8), "lr": (5e-4, 8e-3)}
    starts_as_zero_shot = False
    renames = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        ratio: Fraction = 0.2,
        lr: Positive = 2e-3,
        epochs: Count = 200,
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        self.ratio, self.lr, self.epochs = ratio, lr, epochs
        width = self.texts.shape[1]
        self.adapter = nn.Sequential(
            nn.Linear(width, width // 4, bias=False),
            nn.ReLU(),
            nn.Linear(width // 4, width, bias=False),
            nn.ReLU(),
        ).requires_grad_(False)

    def fit(self, z: Float[Tensor, "N w"], classes: Int[Tensor, " N"]) -> None:
        v = self.shared(z).detach()
        descend(
            [*self.adapter.parameters()],
            lambda rows: F.cross_entropy(self._scores(v[rows]), classes[rows]),
            len(v),
            lr=self.lr,
            epochs=self.epochs,
            batch=32,
            warm_up=1e-5,
        )

    def scores(self, z: Float[Tensor, "B w"]) -> Float[Tensor, "B C"]:
        return self._scores(self.shared(z))

    def _scores(self, v: Float[Tensor, "B d"]) -> Float[Tensor, "B C"]:
        mixed = self.ratio * self.adapter(v) + (1 - self.ratio) * v
        return self.zero_shot_scores(F.normalize(mixed, dim=-1))
