"""Predictions of teachers' features: values by hand, sides of pictures, and models that learned from no teacher."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.data.source import load, load_any
from counterpoint.evaluation import create
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.testing._task import RandomEmbedder

DATA = load("scenes:basic,pixels=24,train=4,validation=2,test=70")
ROWS = next(iter(DATA.splits.test.values()))


class Pupil(RandomEmbedder):
    """A model whose teacher has three channels and two patches, and that predicts a side by a shift as large."""

    def __init__(self, predict: Any) -> None:
        super().__init__()
        self.predict = predict

    def teacher_features(self, pictures: Tensor, side: int | None = None) -> dict[str, tuple[Tensor, Tensor]]:
        halves = pictures.float().flatten(2).view(len(pictures), 3, 2, -1).mean(3).mT
        true = {"summary": halves.mean(1, keepdim=True), "patches": halves}
        return {name: (self.predict(t, side), t) for name, t in true.items()}


class Untaught:
    """A model that learned from no teacher."""

    heads: tuple[str, ...] = ("global",)

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        return torch.ones(len(inputs), 1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def teaching(predict: Any, rows: Any = ROWS, **options: Any) -> Any:
    return create("teaching", **options)(Pupil(predict), DATA, rows)


def test_errors_are_in_units_of_the_teachers_variance() -> None:
    every = Pupil(lambda t, side: t).teacher_features(DATA.images(ROWS))["patches"][1].double()
    mean = every.mean((0, 1))
    constant = teaching(lambda t, side: mean.float().expand_as(t))
    assert constant.value("error_patches") == pytest.approx(1, abs=1e-5)
    perfect = teaching(lambda t, side: t)
    assert [perfect.value("error"), perfect.value("distance")] == pytest.approx([0, 0], abs=1e-6)
    shifted = teaching(lambda t, side: t + 2)
    variance = every.flatten(0, 1).var(0, correction=0).sum()
    assert shifted.value("error_patches") == pytest.approx(float(12 / variance), rel=1e-5)
    expected = 1 - F.cosine_similarity(every, every + 2, dim=2).mean(1)
    np.testing.assert_allclose(shifted.examples["distance_patches"], expected, atol=1e-6)
    scaled = teaching(lambda t, side: 3 * t)
    assert scaled.value("distance") == pytest.approx(0, abs=1e-6)
    assert scaled.value("error") > 1


def test_each_side_has_numbers_of_its_own() -> None:
    scores = teaching(lambda t, side: t + side, sides="0012+30")
    assert scores.value("error_patches_30") == pytest.approx(
        scores.value("error_patches_12") * (30 / 12) ** 2
    )
    means = [scores.value(f"error_patches_{side}") for side in (12, 30)]
    assert scores.value("error") == pytest.approx(np.mean(means))
    with pytest.raises(ValueError, match="sides='12\\+x': give sides in pixels"):
        create("teaching", sides="12+x")


def test_features_that_are_the_same_everywhere_have_no_variance_to_measure_by() -> None:
    class Constant(Pupil):
        def teacher_features(
            self, pictures: Tensor, side: int | None = None
        ) -> dict[str, tuple[Tensor, Tensor]]:
            return {"patches": (torch.zeros(len(pictures), 2, 3), torch.ones(len(pictures), 2, 3))}

    scores = create("teaching")(Constant(None), DATA, ROWS)
    assert np.isnan(scores.value("error_patches"))
    assert scores.value("distance_patches") == 1


def test_what_cannot_be_compared_is_said() -> None:
    def gone(t: Tensor, side: int | None) -> Tensor:
        raise ValueError("teacher='runs/gone' cannot be read")

    with pytest.raises(NotApplicableError, match="compares a model with its teachers: teacher='runs/gone'"):
        teaching(gone)
    with pytest.raises(NotApplicableError, match="asks models that learned features of a teacher, as distil"):
        create("teaching")(Untaught(), DATA, ROWS)
    with pytest.raises(NotApplicableError, match="asks about pictures"):
        create("teaching")(
            Pupil(lambda t, side: t), load_any("glosses:graded,train=4,validation=2,test=8"), ROWS[:4]
        )
    with pytest.raises(ValueError, match="NaN or infinite"):
        teaching(lambda t, side: t / 0)
