"""Pointing, segmentation and localisation: perfect, blind and missing maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.evaluation import create
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks._regions import size_of
from counterpoint.evaluation.tasks.segmentation import Segmentation
from counterpoint.types import Embedder, Scores
from fixtures.hand_made import Blind, HandRegions, ItemData

TASKS = ("pointing", "segmentation", "localisation")
COLOURS = ("background", "red thing", "green thing", "blue thing")


class Painted:
    """An embedder whose places say their colour: pixels of pictures in four colours, texts their names."""

    heads: tuple[str, ...] = ("global",)

    def __init__(self, wrong: bool = False) -> None:
        self._wrong = wrong

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        if modality == "image":
            return F.normalize(self.embed_patches(inputs).mean((2, 3)), dim=1)
        names = torch.eye(4)
        return torch.stack([names[COLOURS.index(text)] for text in inputs])

    def embed_patches(self, pictures: Tensor, head: str = "default") -> Tensor:
        bright = pictures > 127
        places = torch.cat([~bright.any(1, keepdim=True), bright], 1).float()
        return 1 - places if self._wrong else places

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


class OwnMaps(Painted):
    """A model whose places are all wrong, with maps of its own that are right."""

    def __init__(self) -> None:
        super().__init__(wrong=True)

    def name_maps(self, pictures: Tensor, names: Sequence[str]) -> Tensor:
        right = Painted().embed_patches(pictures)
        return right[:, [COLOURS.index(name) for name in names]]


class Flat(Blind):
    """Every place is like every other, and every text."""

    def embed_patches(self, pictures: Tensor, head: str = "default") -> Tensor:
        return self.embed("image", pictures)[:, :, None, None].repeat(1, 1, 6, 6)


def painted(n: int = 12, size: int = 24) -> HandRegions:
    """Two squares of different colours in each picture; each item asks for one of them."""
    generator = np.random.default_rng(0)
    pictures = torch.zeros(n, 3, size, size, dtype=torch.uint8)
    masks = torch.zeros(n, size, size, dtype=torch.bool)
    phrases = []
    for k in range(n):
        first, second = generator.permutation(3)[:2]
        side = int(generator.integers(5, 9))
        top, left = generator.integers(0, size - side), generator.integers(0, size // 2 - side)
        mask = masks[k, top : top + side, left : left + side]
        mask[:] = True
        pictures[k, first, top : top + side, left : left + side] = 255
        pictures[k, second, 3:8, size // 2 + 2 : size // 2 + 6] = 255
        phrases.append(COLOURS[1 + first])
    return HandRegions(pictures, masks, phrases)


def score(name: str, items: HandRegions, model: Embedder) -> Scores:
    return create(name)(model, ItemData(items), np.arange(2))


def test_a_map_that_shows_the_thing_is_perfect_in_everything() -> None:
    items = painted()
    assert score("pointing", items, Painted()).value("hit") == 1
    found = score("segmentation", items, Painted())
    assert (found.value("iou"), found.value("miou")) == (1, 1)
    found = score("localisation", items, Painted())
    assert (found.value("iou"), found.value("found")) == (1, 1)


def test_a_map_that_avoids_the_thing_is_wrong_in_everything() -> None:
    items = painted()
    assert score("pointing", items, Painted(wrong=True)).value("hit") == 0
    assert score("segmentation", items, Painted(wrong=True)).value("iou") == 0


def test_segmentation_asks_for_maps_of_a_model_s_own() -> None:
    assert score("segmentation", painted(), OwnMaps()).value("iou") == 1


def test_blind_model_points_chance_boxes_everything_segments() -> None:
    items = painted()
    pointed = score("pointing", items, Flat())
    area = float(items.masks(np.arange(12)).double().mean())
    assert pointed.value("hit") == pytest.approx(area)
    assert pointed.metrics["hit"].chance == pytest.approx(area)
    boxed = score("localisation", items, Flat())
    assert boxed.value("iou") == pytest.approx(boxed.metrics["iou"].chance) == pytest.approx(area)
    assert score("segmentation", items, Flat()).value("iou") == 0


def test_chance_of_segmentation_is_what_random_names_score() -> None:
    items = painted(n=60)
    chance = score("segmentation", items, Painted()).metrics["iou"].chance
    masks = items.masks(np.arange(60)).numpy()
    draws = np.random.default_rng(1).integers(4, size=(200, *masks.shape)) == 1
    union = (draws | masks).sum((2, 3))
    ious = (draws & masks).sum((2, 3)) / union
    # The mean of ratios is the ratio of means up to one part in the pixels of the picture.
    assert chance == pytest.approx(ious.mean(), rel=0.02)


def test_the_mean_over_phrases_counts_each_phrase_once() -> None:
    items = painted(n=4)
    items.phrases = ["red thing", "red thing", "red thing", "green thing"]
    found = score("segmentation", items, Painted())
    iou = found.examples["iou"].to_numpy()
    assert found.value("miou") == pytest.approx((iou[:3].mean() + iou[3]) / 2)


def test_without_name_for_background_some_phrase_gets_pixel() -> None:
    items = HandRegions(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.ones(1, 8, 8).bool(), ["red thing"])
    found = Segmentation(background=())(Painted(), ItemData(items), np.arange(2))
    assert found.value("iou") == 1
    assert Segmentation()(Painted(), ItemData(items), np.arange(2)).value("iou") == 0


def test_a_box_may_match_one_of_several_parts_or_all() -> None:
    picture = torch.zeros(1, 3, 12, 12, dtype=torch.uint8)
    picture[0, 0, 2:6, 2:6] = 255
    mask = picture[:, 0] > 0
    mask[0, 8:10, 8:10] = True  # a second part of the region, which the map does not show
    assert score("localisation", HandRegions(picture, mask, ["red thing"]), Painted()).value("iou") == 1


def test_what_lies_outside_the_towers_square_is_not_asked() -> None:
    wide = torch.zeros(2, 3, 8, 16, dtype=torch.uint8)
    masks = torch.zeros(2, 8, 16, dtype=torch.bool)
    masks[0, :, :4] = masks[1, :4, 4:8] = True

    class Cropped(Painted):
        def embed_patches(self, pictures: Tensor, head: str = "default") -> Tensor:
            return super().embed_patches(pictures[..., 4:12], head)

    wide[1, 0, :4, 4:8] = 255
    found = score("pointing", HandRegions(wide, masks, ["red thing"] * 2), Cropped())
    assert found.examples["hit"].to_list() == [None, 1.0]
    assert found.metrics["hit"].chance == pytest.approx(1 / 4)


def test_models_without_places_are_refused() -> None:
    for task in TASKS:
        with pytest.raises(
            NotApplicableError, match=f"{task} needs a model with embed_patches, which Blind is not"
        ):
            score(task, painted(), Blind())


def test_places_that_are_not_finite_are_refused() -> None:
    class Diverged(Painted):
        def embed_patches(self, pictures: Tensor, head: str = "default") -> Tensor:
            return super().embed_patches(pictures, head) * torch.nan

    with pytest.raises(ValueError, match="embeddings of patches are NaN or infinite"):
        score("pointing", painted(), Diverged())


def test_regions_of_one_kind_are_reported_by_their_size() -> None:
    items = painted()
    found = create("pointing")(Painted(), ItemData(items), np.arange(2))
    sizes = [size_of(float(share)) for share in items.masks(np.arange(len(items))).double().mean((1, 2))]
    assert found.examples["subset"].to_list() == sizes
    assert set(sizes) <= {"up to 3 %", "3 to 10 %", "over 10 %"}
