from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.diagnostics import centroid_gap, separability


def clouds(n: int, d: int, shift: float) -> tuple[Tensor, Tensor]:
    """Two unrelated clouds of unit vectors, moved apart along the first axis."""
    x, y = torch.randn(2, n, d, generator=torch.Generator().manual_seed(0))
    x[:, 0] += shift
    y[:, 0] -= shift
    return F.normalize(x, dim=-1), F.normalize(y, dim=-1)


def test_one_cloud_cannot_be_separated_and_two_can() -> None:
    assert 0.4 < separability(*clouds(400, 16, 0.0)) < 0.6
    assert separability(*clouds(400, 16, 30.0)) == 1.0
    middle = separability(*clouds(400, 16, 1.0))
    assert 0.75 < middle < 0.95


def test_accuracy_is_held_out() -> None:
    # More dimensions than training pairs: every training set is separable, and nothing of it holds elsewhere.
    assert 0.3 < separability(*clouds(60, 200, 0.0)) < 0.7


def test_clouds_can_be_separable_without_distance_of_centres() -> None:
    # Along the second axis the modalities differ always, but the first carries nearly all of the length.
    n = 100
    side = torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0)
    x = F.normalize(torch.stack([side, torch.full((n,), 0.05)], dim=1), dim=-1)
    y = F.normalize(torch.stack([side, torch.full((n,), -0.05)], dim=1), dim=-1)
    assert centroid_gap(x, y) < 0.11
    assert separability(x, y) > 0.7


def test_the_distance_of_centroids_by_hand() -> None:
    x = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    y = torch.tensor([[-1.0, 0.0], [0.0, -1.0]])
    assert centroid_gap(x, y) == pytest.approx(math.sqrt(2))
    assert centroid_gap(x, 4 * x) == 0


def test_a_rotation_changes_neither() -> None:
    x, y = clouds(200, 8, 0.7)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1))).Q
    assert centroid_gap(x @ turn, y @ turn) == pytest.approx(centroid_gap(x, y), abs=1e-5)
    assert separability(x @ turn, y @ turn) == pytest.approx(separability(x, y), abs=0.01)


def test_the_split_is_seeded_and_small_sets_are_undefined() -> None:
    x, y = clouds(100, 4, 0.5)
    assert separability(x, y, seed=3) == separability(x, y, seed=3)
    assert math.isnan(separability(x[:3], y[:3]))
    with pytest.raises(ValueError, match="matched rows"):
        separability(x, y[:50])
