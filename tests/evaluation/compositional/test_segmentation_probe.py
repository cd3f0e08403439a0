"""The segmentation probe: perfect, plain and missing features, and what counts as right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.data.base import Rows, SomeItems, Splits
from counterpoint.data.items import Regions
from counterpoint.evaluation import create
from counterpoint.evaluation.statistic import STATISTICS
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.types import Scores
from fixtures.hand_made import Blind, HandRegions, ItemData

TRAIN, TEST = np.arange(12), np.arange(12, 20)
COLOURS = ("red", "green", "blue")


class Painted(ItemData):
    """Pictures of two squares of different colours, each with a phrase; the second lies upon the first."""

    def __init__(self, phrases: Sequence[str] = COLOURS, size: int = 16) -> None:
        generator = np.random.default_rng(0)
        n = len(TRAIN) + len(TEST)
        self.pictures = torch.zeros(n, 3, size, size, dtype=torch.uint8)
        masks = torch.zeros(n, 2, size, size, dtype=torch.bool)
        self.rows, names = np.repeat(np.arange(n), 2), []
        for row in range(n):
            for number, (colour, side) in enumerate(zip(generator.permutation(3)[:2], (9, 4), strict=True)):
                top, left = generator.integers(0, size - side, 2)
                where = (slice(top, top + side), slice(left, left + side))
                masks[row, number][where] = True
                self.pictures[row][:, *where] = 0
                self.pictures[row, colour][where] = 255
                names.append(phrases[colour])
        self.masks, self.phrases = masks.flatten(0, 1), names
        super().__init__()
        self.ids, self.subsets = 100 + np.arange(n), np.array(["all"] * n)
        self.splits = Splits(TRAIN, {}, {"all": TEST})

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        positions = np.flatnonzero(np.isin(self.rows, rows))
        regions = HandRegions(
            self.pictures[torch.from_numpy(self.rows[positions])],
            self.masks[torch.from_numpy(positions)],
            [self.phrases[k] for k in positions],
            self.rows[positions],
        )
        regions.ids = positions
        assert isinstance(regions, form)
        return regions


class Pixels(Blind):
    """Every pixel is a patch, whose feature is its colour."""

    def embed_patches(self, pictures: Tensor, head: str = "default") -> Tensor:
        return pictures / 255


class Noise(Blind):
    """Features that say little, on a grid that does not divide the picture."""

    def embed_patches(self, pictures: Tensor, head: str = "default") -> Tensor:
        grid = F.adaptive_avg_pool2d(pictures / 255, 5)
        return torch.cat([grid[:, :1], torch.sin(40 * grid)], 1)


def score(model: Any, data: Painted | None = None) -> Scores:
    return create("segmentation_probe")(model, data or Painted(), TEST)


def test_maps_of_a_few_pictures_are_truth_and_prediction() -> None:
    data, maps = Painted(), score(Pixels()).maps
    assert maps is not None
    assert len(maps.pictures) == 6
    assert (maps.predicted == maps.true).all()
    number = {name: k for k, name in enumerate(maps.names)}
    for picture, true in zip(maps.pictures, maps.true, strict=True):
        assert any((picture == data.pictures[row].numpy()).all() for row in TEST)
        for colour, name in enumerate(COLOURS):
            assert ((true == number[name]) == (picture[colour] == 255)).all()


def test_features_that_say_the_class_are_perfect_and_the_smaller_region_wins() -> None:
    """The second square covers the first, whose mask goes on below it."""
    scores = score(Pixels())
    assert (scores.value("miou"), scores.value("miou_band")) == (1, 1)
    assert scores.examples["example"].to_list() == (100 + TEST).tolist()


def test_metrics_agree_with_plain_loops_over_pixels() -> None:
    data = Painted()
    scores = score(Noise(), data)
    from counterpoint.evaluation.tasks import segmentation_probe as module

    task = module.SegmentationProbe()
    features = module.EmbeddingCache.of(Noise(), data)
    probe = task._fit(features)
    number = {name: k for k, name in enumerate(probe.names)}
    totals = {True: np.zeros((2, 4)), False: np.zeros((2, 4))}
    for _, pictures, labels in module._label_maps(data.items(Regions, TEST), number):
        grids = Noise().embed_patches(pictures).permute(0, 2, 3, 1)
        for true, predicted in zip(labels, probe(grids, (16, 16)), strict=True):
            for i in range(16):
                for j in range(16):
                    window = true[max(i - 3, 0) : i + 4, max(j - 3, 0) : j + 4]
                    a, b = int(true[i, j]), int(predicted[i, j])
                    for total in [totals[False], *([totals[True]] if (window != a).any() else [])]:
                        total[0, sorted({a, b})] += 1
                        total[1, a] += a == b
    for metric, band in ("miou", False), ("miou_band", True):
        union, intersection = totals[band]
        assert scores.value(metric) == pytest.approx((intersection / union).mean())
    assert 0.1 < scores.value("miou") < 0.9


def test_the_layer_is_the_minimum_of_its_loss() -> None:
    from counterpoint.evaluation.tasks import segmentation_probe as module

    generator = torch.Generator().manual_seed(0)
    x, counts = torch.randn(50, 4, generator=generator), torch.rand(50, 3, generator=generator)
    weight, bias = module._softmax_regression(x, counts)
    error = F.linear(x, weight, bias).softmax(1) * counts.sum(1, keepdim=True) - counts
    assert ((error / counts.sum()).T @ x + module.PENALTY * weight).abs().max() < 1e-4
    assert error.sum(0).abs().max() / counts.sum() < 1e-4


def test_intervals_are_of_pictures() -> None:
    """A resample counts every picture's pixels as often as it holds the picture."""
    scores = score(Noise())
    values, generator = scores.outcomes("miou"), np.random.default_rng(1)
    statistic = STATISTICS["mean_iou"]
    for _ in range(3):
        rows = generator.integers(len(TEST), size=len(TEST))
        union, intersection = np.split(values[rows].sum(0), 2)
        occurs = union > 0
        assert statistic(values[rows]) == pytest.approx((intersection[occurs] / union[occurs]).mean())


def test_a_class_that_training_lacks_is_wrong_wherever_it_is() -> None:
    data = Painted()
    data.phrases = [
        "new" if row in TEST and phrase == "red" else phrase
        for row, phrase in zip(data.rows, data.phrases, strict=True)
    ]
    scores = score(Pixels(), data)
    assert scores.examples["intersection: new"].sum() == scores.examples["intersection: red"].sum() == 0
    assert scores.value("miou") == pytest.approx(3 / 5)  # of background, red, green, blue and new


def test_chance_and_the_best_constant_answer() -> None:
    scores = score(Pixels())
    union = (
        scores.examples.select("^union: .*$").sum().to_numpy()[0]
    )  # of right answers: the pixels of each class
    share = union / union.sum()
    assert scores.constant("miou") == pytest.approx(share.max() / 4)
    assert scores.metrics["miou"].chance == pytest.approx((share / 4 / (share + 1 / 4 - share / 4)).mean())


def test_it_asks_for_patches_and_regions_of_training_rows() -> None:
    with pytest.raises(NotApplicableError, match="segmentation_probe needs a model with embed_patches"):
        score(Blind())
    data = Painted()
    data.splits = Splits(np.arange(0), {}, {"all": TEST})
    with pytest.raises(NotApplicableError, match="learns from the training split"):
        score(Pixels(), data)
    data = Painted()
    data.rows = np.where(np.isin(data.rows, TEST), data.rows, -1)
    with pytest.raises(NotApplicableError, match="asks about regions, and these rows"):
        score(Pixels(), data)
