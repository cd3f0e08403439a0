"""A linear classifier of the features of a frozen tower."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count, Positive
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._adapting import Adapting, AdaptingOptions, label_loss
from .base import Ranges


class LinearClassifier(Adapting):
    """Logistic regression on the tower's own features: ``s = W (z − μ) / σ + b``.

        L = Σ_i CE(s_i, y_i) + ‖W‖² / (2 C)

    z is what the tower says, before the layer that leads into the common space, if that is not part of the tower.
    μ and σ are the mean and the standard deviation of each of its dimensions over the labelled examples. It reads no
    names. It is minimised by L-BFGS from zero. With tags, CE is the binary cross-entropy of the known tags.

    Args:
        towers: the tower of the column, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label.
        strength: C.
        steps: iterations, at most.
        options: see `Adapting`.

    Source: the linear probe of Radford et al. (2021), arXiv 2103.00020, whose C is chosen on a validation set.
    """

    family = "few labels"
    tunable: ClassVar[Ranges] = {"strength": (0.01, 100.0)}
    learns = ("classes", "tags")
    starts_as_zero_shot = False
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        strength: Positive = 1.0,
        steps: Count = 200,
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        width, classes = towers[self.column].width, len(self.required_target().classes)
        self.strength, self.steps = strength, steps
        self.head = nn.Linear(width, classes).requires_grad_(False)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def fit(self, z: Float[Tensor, "N w"], labels: Int[Tensor, "N ..."]) -> None:
        deviation = z.std(0, correction=0)
        self.mean.copy_(z.mean(0))
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))
        x = self._standardised(z).double()
        weight = torch.zeros_like(self.head.weight, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros_like(self.head.bias, dtype=torch.float64, requires_grad=True)
        solver = torch.optim.LBFGS(
            [weight, bias], max_iter=self.steps, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
        )

        def objective() -> Tensor:
            solver.zero_grad()
            loss = len(x) * label_loss(F.linear(x, weight, bias), labels)
            loss = loss + weight.square().sum() / (2 * self.strength)
            torch.autograd.backward(loss)
            return loss

        solver.step(objective)  # type: ignore[no-untyped-call] # torch's
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    def scores(self, z: Float[Tensor, "B w"]) -> Float[Tensor, "B C"]:
        return self.head(self._standardised(z))

    def _standardised(self, z: Float[Tensor, "n w"]) -> Float[Tensor, "n w"]:
        return (z - self.mean) / self.deviation
