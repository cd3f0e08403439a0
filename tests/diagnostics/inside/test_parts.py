from __future__ import annotations

from inspect import unwrap

import numpy as np
import pytest
import torch

from counterpoint.diagnostics.internals.parts import (
    cells,
    clustering,
    halves,
    middle_of_cell,
    object_features,
    pck,
    purity,
    transfer,
)


def test_object_features_are_means_under_the_mask() -> None:
    maps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :4, :2] = True  # exactly the cells (0, 0) and (1, 0)
    masks[1, 3, 3] = True  # a quarter of the cell (1, 1)
    found = object_features(maps, masks)
    torch.testing.assert_close(found[0], maps[0, :, :2, 0].mean(1))
    torch.testing.assert_close(found[1], maps[1, :, 1, 1])
    assert torch.isnan(object_features(maps, torch.zeros(2, 8, 8).bool())).all()
    everything = object_features(maps, torch.ones(2, 9, 9).bool())
    torch.testing.assert_close(everything, maps.mean((2, 3)), atol=1e-6, rtol=0)


def test_a_cell_belongs_to_the_object_if_half_of_it_does() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, :2, 0] = True
    mask[0, 2, 2] = True
    assert cells(mask, (2, 2)).tolist() == [[True, False, False, False]]


def test_clusters_that_are_the_classes_score_one_and_chance_none() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(4), 25)
    apart = 20 * np.eye(4)[classes] + rng.standard_normal((100, 4))
    found = clustering(apart, 7 - classes)
    assert (found.nmi, found.ari, found.purity) == pytest.approx((1, 1, 1))
    random = clustering(rng.standard_normal((100, 4)), classes)
    assert abs(random.ari) < 0.1


def test_purity_grows_with_the_number_of_clusters() -> None:
    rng = np.random.default_rng(0)
    z, classes = rng.standard_normal((60, 3)), np.arange(60) % 3
    assert clustering(z, classes, 60).purity == 1
    assert clustering(z, classes, 3).purity < 0.6
    assert purity(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])) == pytest.approx(3 / 5)
    with pytest.raises(ValueError, match="as many clusters"):
        clustering(z, classes, 61)
    with pytest.raises(ValueError, match="class for each row"):
        unwrap(clustering)(z, classes[:5])


def test_key_points_move_with_the_picture() -> None:
    h, w = 4, 6
    maps = torch.randn(32, h, w, generator=torch.Generator().manual_seed(0))
    centres = torch.tensor([[(j + 0.5) / w, (i + 0.5) / h] for i in range(h) for j in range(w)])
    torch.testing.assert_close(transfer(maps, centres, maps), centres)
    moved = transfer(maps, centres[:1], maps.roll((1, 2), (1, 2)))
    torch.testing.assert_close(moved, centres[:1] + torch.tensor([[2 / w, 1 / h]]))
    torch.testing.assert_close(transfer(5 * maps, centres, maps), centres)


def test_pck_counts_points_within_the_distance() -> None:
    true = torch.zeros(4, 2)
    found = torch.tensor([[0.0, 0.0], [0.03, 0.04], [0.2, 0.0], [0.009, 0.0]])
    assert pck(found, true) == {0.1: 0.75, 0.05: 0.75, 0.01: 0.5}


def test_halves_are_cut_in_the_middle_of_the_box() -> None:
    masks = torch.zeros(3, 8, 6, dtype=torch.bool)
    masks[0, 2:6, 1:3] = True
    masks[1, 1:4, 5] = True  # an odd number of rows
    upper, lower = halves(masks)
    assert torch.equal(upper | lower, masks)
    assert not (upper & lower).any()
    assert upper[0].nonzero()[:, 0].tolist() == [2, 2, 3, 3]
    assert upper[1].nonzero()[:, 0].tolist() == [1]
    assert not upper[2].any()
    assert not lower[2].any()


def test_the_middle_of_the_cell_is_what_transfer_finds_at_best() -> None:
    points = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    best = middle_of_cell(points, (4, 6))
    assert ((best - points).abs() <= torch.tensor([1 / 12, 1 / 8]) + 1e-6).all()
    maps = torch.eye(24).unflatten(1, (4, 6))
    torch.testing.assert_close(transfer(maps, best, maps), best)
    torch.testing.assert_close(middle_of_cell(best, (4, 6)), best)
    assert middle_of_cell(torch.tensor([[1.0, 1.0]]), (4, 6)).tolist()[0] == pytest.approx([11 / 12, 7 / 8])
