"""Methods with one mistake each: the property that the mistake breaks is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.losses import InfoNCELoss
from counterpoint.methods import Needs, TowerMethod
from counterpoint.methods.tower_method import distinct, paired
from counterpoint.networks.heads import Linear
from counterpoint.testing import ConformanceError, check_method
from counterpoint.types import Batch


class Right(TowerMethod):
    """One direction of CLIP."""

    needs = Needs(2, 2)

    def __init__(self, towers: Any, recipe: Any, *, temperature: float = 0.1) -> None:
        super().__init__(towers)
        self.views = paired(towers)
        self.projections = nn.ModuleDict(
            {name: Linear(t.width, recipe.widths.embedding) for name, t in distinct(towers).items()}
        )
        self.loss = InfoNCELoss(temperature, weights=(1.0, 0.0))

    def losses(self, z: Any, batch: Batch, clock: Any) -> dict[str, Tensor]:
        x, y = (F.normalize(self.project(c, z[c], "global"), dim=-1) for c in self.columns)
        return {"right": self.loss(x, y)}


class AcrossExamples(Right):
    """Features that look across the batch."""

    def features(self, column: str, inputs: Tensor) -> Tensor:
        z = super().features(column, inputs)
        return z - z.mean(0)


class LostGradient(Right):
    """A column without a gradient."""

    def features(self, column: str, inputs: Tensor) -> Tensor:
        return super().features(column, inputs).detach()


class Ascent(Right):
    """A loss with the wrong sign."""

    def losses(self, z: Any, batch: Batch, clock: Any) -> dict[str, Tensor]:
        value = super().losses(z, batch, clock)["right"]
        return {"right": 2 * value.detach() - value}


class Unseeded(Right):
    """A weight that the seed does not reach."""

    def __init__(self, towers: Any, recipe: Any) -> None:
        super().__init__(towers, recipe)
        self.register_buffer("shift", torch.randn(2, 2))


class HiddenState(Right):
    """State that a checkpoint does not hold."""

    calls = 0

    def losses(self, z: Any, batch: Batch, clock: Any) -> dict[str, Tensor]:
        self.calls += 1
        return {"right": super().losses(z, batch, clock)["right"] * (1 + self.calls)}


class Ordered(Right):
    """A loss that depends on the order and does not say so."""

    def losses(self, z: Any, batch: Batch, clock: Any) -> dict[str, Tensor]:
        value = super().losses(z, batch, clock)["right"]
        return {"right": value + z["image"][0].square().sum() - z["image"][1].square().sum()}


class Tunable(Right):
    """A range that ends where it should begin."""

    tunable = {"temperature": (0.5, 0.1)}  # noqa: RUF012 # as a user may write it


WRONG = {
    AcrossExamples: "encode by example",
    LostGradient: "gradients",
    Ascent: "descent",
    Unseeded: "seed",
    HiddenState: "saved state",
    Ordered: "losses",
    Tunable: "tunable options",
}


def test_right_methods_pass() -> None:
    for method in (Right, "clip", "dcl,on=images"):
        check_method(method)


@pytest.mark.parametrize("method", WRONG, ids=lambda method: method.__name__)
def test_the_broken_property_is_named(method: type[Right]) -> None:
    with pytest.raises(ConformanceError) as error:
        check_method(method)
    assert WRONG[method] in error.value.failures


def test_options_are_passed_on() -> None:
    check_method(Right, options={"temperature": 0.3})


def test_a_method_that_cannot_be_built_is_an_error_of_the_call() -> None:
    with pytest.raises(ValueError, match="jest needs reference="):
        check_method("jest")
