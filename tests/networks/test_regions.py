"""Regions of a map of places: what they sample, what the transformer sees, that nothing else changes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from counterpoint.networks import ConvNet, RegionTower, initialise
from counterpoint.networks.towers.parts.regions import grid, shares


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (4, 6)])
def test_every_region_is_an_average_of_places(rows: int, columns: int) -> None:
    found = shares(rows, columns, (1, 2, 3))
    assert found.shape == (14, rows * columns)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(14))


def test_cells_grid_fine_map_places_blurred_by_bilinear_sampling() -> None:
    found = shares(3, 3, (3,)).unflatten(1, (3, 3))
    # Four samples a side of a cell, at ±1/8 and ±3/8 from its centre: a quarter of the weight falls on neighbours.
    assert found[4, 1, 1].item() == pytest.approx(0.75**2)
    assert found[4, 0, 1].item() == pytest.approx(0.75 * 0.125)
    assert found[0, 0, 0].item() == pytest.approx(0.875**2)  # beyond the edge the edge goes on


def test_a_region_sees_its_own_part_of_the_picture() -> None:
    left = shares(4, 4, (2,)).unflatten(1, (4, 4))[0]
    assert left[:2, :2].sum() > 0.8
    assert left[3].abs().max() == 0
    assert left[:, 3].abs().max() == 0


def test_is_the_cards_encoder() -> None:
    tower = RegionTower(ConvNet(size=32), scales=(1, 2), depth=2)
    initialise(tower, 0)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    places = tower.tower.patches(images).flatten(2)  # (B, width, 4)
    regions = [sum(share[k] * places[:, :, k] for k in range(4)) for share in shares(2, 2, (1, 2))]
    x = torch.stack([F.normalize(tower.linear(region), dim=-1) for region in regions], 1)
    for block in tower.blocks:
        x = block(x)
    torch.testing.assert_close(tower(images), tower.norm(x).mean(1))
    torch.testing.assert_close(tower(images)[1:2], tower(images[1:2]))


def test_asking_for_the_map_leaves_modes_alone() -> None:
    tower = ConvNet(size=32).train()
    tower.norm.eval()
    assert grid(tower) == (2, 2)
    assert tower.training
    assert not tower.norm.training


def test_the_inner_towers_start_is_its_own() -> None:
    inner = ConvNet(size=32)
    initialise(inner, 3, "image")
    inner.weights_set = True
    before = inner.stem.weight.detach().clone()
    tower = RegionTower(inner)
    initialise(tower, 0, "towers.image")
    assert torch.equal(inner.stem.weight, before)
    with pytest.raises(LookupError, match="RegionTower has no features of single places"):
        tower.patches(torch.zeros(1, 3, 32, 32))
