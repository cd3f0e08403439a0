"""Towers with one mistake each: the property that the mistake breaks is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from counterpoint.networks import ImageTower
from counterpoint.testing import ConformanceError, check_tower


class Right(ImageTower):
    """A linear layer on the pixels."""

    width, size = 6, 8

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 6)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.flatten(1)).tanh()


class Width(Right):
    width = 7


class AcrossExamples(Right):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images - images.mean(0))


class Noise(Right):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + torch.rand(6)


class Unused(Right):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(2, 2)


class NotPickled(Right):
    def __init__(self) -> None:
        super().__init__()
        self.function = lambda z: z


class FixedType(Right):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).float()


class FixedDevice(Right):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * torch.ones(6, device="cpu").expand(len(images), 6)


class Thawed(Right):
    def train(self, mode: bool = True) -> Any:
        return nn.Module.train(self, mode)


class Unsaved(Right):
    """A scale beside the parameters, other in each object."""

    count = 0

    def __init__(self) -> None:
        super().__init__()
        Unsaved.count += 1
        self.scale = float(Unsaved.count)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.scale


WRONG = {
    Width: "features",
    AcrossExamples: "batches",
    Noise: "repetition",
    Unused: "gradients",
    NotPickled: "pickle",
    FixedType: "kinds of numbers",
    FixedDevice: "device",
    Thawed: "frozen",
    Unsaved: "saved state",
}


def test_right_towers_pass() -> None:
    check_tower(Right)


@pytest.mark.parametrize("tower", WRONG, ids=lambda tower: tower.__name__)
def test_the_broken_property_is_named(tower: type[Right]) -> None:
    with pytest.raises(ConformanceError) as error:
        check_tower(tower)
    assert WRONG[tower] in error.value.failures


def test_raw_examples_of_other_modalities_are_asked_for() -> None:
    class Touch(Right):
        modality = "touch"

    with pytest.raises(ValueError, match="give raw="):
        check_tower(Touch)
