"""JigClu: montages by the card's rules, its losses by loops, cells of odd maps, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, StubImage, build, loaded
from torch import Tensor

from counterpoint import methods
from counterpoint.methods.arm import Arm
from counterpoint.methods.jigclu import MONTAGE, PICTURE, QUADRANT, cells
from counterpoint.networks import ConvNet
from counterpoint.recipes import load
from counterpoint.types import Batch, StepInfo

NOW = StepInfo(3, 10)


def prepared(method: Any, n: int = 6, seed: int = 0) -> Batch:
    """A montage of patches that are of one grey each: that of patch q of picture i is 4 i + q."""
    given = loaded(method, n, dtype=torch.float64)
    greys = 4 * torch.arange(n, dtype=torch.float64)[:, None, None, None]
    views = {name: (greys + q).expand_as(given[name]) for q, name in enumerate(method.views)}
    torch.manual_seed(seed)
    batch: Batch = method.prepare(replace(given, views=views), NOW)
    return batch


@pytest.fixture(scope="module")
def method() -> Any:
    return build("jigclu").double()


def test_patch_lies_in_one_cell_and_known_by_place_in_picture(method: Any) -> None:
    batch = prepared(method)
    montage = batch[MONTAGE]
    assert montage.shape == (6, 3, 8, 8)
    for row, column, cell in ((0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 3)):
        quarter = montage[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten(1)
        assert torch.equal(quarter.amin(1), quarter.amax(1))
        assert torch.equal(quarter[:, 0], (4 * batch[PICTURE] + batch[QUADRANT])[:, cell].double())
    assert sorted((4 * batch[PICTURE] + batch[QUADRANT]).flatten().tolist()) == list(range(24))


def test_place_in_montage_says_nothing_of_place_in_the_picture(method: Any) -> None:
    drawn = torch.stack([prepared(method, 8, seed)[QUADRANT] for seed in range(200)]).flatten(0, 1)
    for cell in range(4):
        share = drawn[:, cell].bincount(minlength=4) / len(drawn)
        torch.testing.assert_close(share, torch.full((4,), 0.25), rtol=0, atol=0.05)


def losses_by_loops(method: Any, batch: Batch) -> tuple[float, float]:
    """The two terms, from the card, with their weights at 1."""
    v = method.encode(batch)[MONTAGE].flatten(0, 1)
    z, scores = F.normalize(method.projection(v), dim=-1), method.quadrants.scores(v)
    picture, quadrant = batch[PICTURE].flatten().tolist(), batch[QUADRANT].flatten().tolist()
    clustering = location = 0.0
    for i in range(len(v)):
        others = [j for j in range(len(v)) if j != i]
        total = sum(math.exp(float(z[i] @ z[j]) / 0.3) for j in others)
        positives = [j for j in others if picture[j] == picture[i]]
        assert len(positives) == 3
        clustering -= sum(float(z[i] @ z[j]) / 0.3 - math.log(total) for j in positives) / 3 / len(v)
        location -= float(scores[i].log_softmax(0)[quadrant[i]]) / len(v)
    return clustering, location


@torch.no_grad()
def test_losses_are_the_cards(method: Any) -> None:
    batch = method.prepare(loaded(method, 5, dtype=torch.float64), NOW)
    clustering, location = losses_by_loops(method, batch)
    found = method.losses(method.encode(batch), batch, NOW)
    assert float(found["clustering"]) == pytest.approx(0.3 / 0.07 * clustering)
    assert float(found["location"]) == pytest.approx(location)
    other = build("jigclu", clustering=1.0, location=0.0).double()
    found = other.losses(other.encode(batch), batch, NOW)
    assert float(found["clustering"]) == pytest.approx(clustering)
    assert float(found["location"]) == 0


def test_cells_of_an_odd_map_are_read_as_in_the_paper() -> None:
    maps = torch.randn(2, 5, 7, 7, generator=torch.Generator().manual_seed(0))
    wide = F.interpolate(maps, (8, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(cells(maps), F.avg_pool2d(wide, 4).flatten(2).mT)
    even = maps[..., :6, :6]
    torch.testing.assert_close(cells(even), F.avg_pool2d(even, 3).flatten(2).mT)


def test_it_costs_one_pass_of_a_picture(method: Any) -> None:
    assert method.passes() == {"image": 1.0}


class _OnePlace(StubImage):
    def patches(self, images: Tensor) -> Tensor:
        return self(images)[..., None, None]


def test_what_cannot_be_a_montage_is_refused(method: Any) -> None:
    with pytest.raises(ValueError, match="give it 2 or more"):
        method.prepare(loaded(method, 1), NOW)
    with pytest.raises(ValueError, match="takes 8 pixels a side and has 1 × 1 places"):
        methods.create("jigclu", {"image": _OnePlace()}, RECIPE)
    with pytest.raises(ValueError, match="takes 27 pixels a side"):
        methods.create("jigclu", {"image": ConvNet(27)}, RECIPE)
    with pytest.raises(ValueError, match="no features of single places"):
        Arm.parse("jigclu").build(load("seconds"), {}, 0, columns={"image": "image"})
