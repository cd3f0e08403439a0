"""Out-of-distribution detection: the direction of scores, plain loops, models with an energy and without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.data.base import Splits
from counterpoint.data.pictured import PairedData
from counterpoint.evaluation import create
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks.out_of_distribution import OutOfDistribution


class Bright(PairedData):
    """Pictures of a few shades; in the shift ``dark`` they are darker, in ``same`` they are themselves."""

    name, labels = "bright", {}

    def __init__(self) -> None:
        self.ids, self.subsets = np.arange(20), np.array(["all"] * 20)
        self.splits = Splits(np.arange(10), {}, {"test": np.arange(10, 20)})

    def images(self, rows: np.ndarray) -> Tensor:
        shades = torch.from_numpy(150 + 3 * (rows % 7)).to(torch.uint8)
        return shades[:, None, None, None].expand(-1, 3, 4, 4).contiguous()

    def captions(self, row: int) -> Sequence[str]:
        return ["bright"]

    def shifts(self) -> Any:
        return {"dark": lambda rows: self.images(rows) // 3, "same": self.images}


class Shade:
    """An embedder of brightness, as an angle."""

    heads = ("global",)

    def embed(self, modality: str, inputs: Tensor, head: str = "default") -> Tensor:
        angle = inputs.float().mean((1, 2, 3)) / 100
        return torch.stack([angle.cos(), angle.sin()], 1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


class WithEnergy(Shade):
    """A `Shade` whose energy is low where pictures are bright."""

    def energy(self, pictures: Tensor) -> Tensor:
        return -pictures.float().mean((1, 2, 3))


def test_familiar_pictures_score_higher() -> None:
    data = Bright()
    scores = OutOfDistribution()(Shade(), data, data.splits.test["test"])
    assert scores.value("cosine_dark") == pytest.approx(1.0)
    assert scores.value("cosine_same") == pytest.approx(0.5)
    assert set(scores.metrics) == {"cosine_dark", "cosine_same"}
    assert all(metric.chance == 0.5 for metric in scores.metrics.values())


def test_low_energy_is_familiar() -> None:
    data = Bright()
    scores = OutOfDistribution()(WithEnergy(), data, data.splits.test["test"])
    assert scores.value("energy_dark") == pytest.approx(1.0)
    assert scores.value("energy_same") == pytest.approx(0.5)


def test_it_is_the_area_under_the_curve() -> None:
    data = Bright()
    rows = data.splits.test["test"]

    class Noisy(Shade):
        def energy(self, pictures: Tensor) -> Tensor:
            return (pictures.float().mean((1, 2, 3)) * 7.3).sin()

    scores = OutOfDistribution()(Noisy(), data, rows)
    own, other = (-Noisy().energy(source(rows)) for source in (data.images, data.shifts()["dark"]))
    pairs = [float(a > b) + 0.5 * float(a == b) for a in own for b in other]
    assert scores.value("energy_dark") == pytest.approx(np.mean(pairs))


def test_only_so_many_training_pictures_are_compared_with() -> None:
    data = Bright()
    few = OutOfDistribution(limit=1)(Shade(), data, data.splits.test["test"])
    assert few.value("cosine_dark") == pytest.approx(1.0)


def test_data_without_shifts_or_training_is_refused() -> None:
    class Plain(Bright):
        def shifts(self) -> Any:
            return {}

    data = Plain()
    with pytest.raises(NotApplicableError, match="needs other pictures of the same rows"):
        OutOfDistribution()(Shade(), data, data.splits.test["test"])
    empty = Bright()
    empty.splits = Splits(np.arange(0), {}, {"test": np.arange(20)})
    with pytest.raises(ValueError, match="training split of 'bright', which is empty"):
        create("out_of_distribution")(Shade(), empty, np.arange(20))
