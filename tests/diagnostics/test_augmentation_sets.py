from __future__ import annotations

import math
from inspect import unwrap
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.diagnostics import augmentation as room
from counterpoint.diagnostics.augmentation import (
    augmented_distance,
    centres,
    clique,
    concentration,
)


def views(n: int, m: int, p: int, seed: int = 0) -> Tensor:
    return torch.randn(n, m, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_distance_is_the_least_over_pairs_of_views(monkeypatch: pytest.MonkeyPatch) -> None:
    z = views(7, 4, 3)
    monkeypatch.setattr(room, "_ROWS", 8)
    found = augmented_distance(z)
    for i, j in combinations(range(7), 2):
        expected = min(float((a - b).norm()) for a in z[i] for b in z[j])
        assert float(found[i, j]) == pytest.approx(expected)
    torch.testing.assert_close(found, found.T)
    assert not found.diagonal().any()


def test_more_views_never_raise_the_distance() -> None:
    z = views(9, 16, 5)
    few, many = augmented_distance(z[:, :4]), augmented_distance(z)
    assert (many <= few + 1e-12).all()
    assert float(many.sum()) < 0.9 * float(few.sum())


def largest_clique(near: np.ndarray) -> int:
    n = len(near)
    return max(
        k
        for k in range(1, n + 1)
        if any(near[np.ix_(c, c)].all() for c in map(list, combinations(range(n), k)))
    )


def test_the_greedy_clique_and_the_star_bound_the_largest_clique() -> None:
    exact = 0
    for seed in range(30):
        d = augmented_distance(views(9, 1, 2, seed))
        near = d <= 1.2
        truth = largest_clique(near.numpy())
        assert clique(near) <= truth <= int(near.sum(1).max())
        exact += clique(near) == truth
    assert exact >= 27


def test_two_tight_groups_in_a_class() -> None:
    # Three examples at 0 and two at 10: within δ = 1 three of five, within 20 all.
    z = torch.tensor([0.0, 0.1, 0.2, 10.0, 10.1])[:, None, None]
    found = concentration(z, torch.zeros(5, dtype=torch.long), deltas=[1.0, 20.0])
    assert found.sigma == (0.6, 1.0)
    assert found.star == (0.6, 1.0)
    assert found.distance == pytest.approx(
        (2 * (0.1 + 0.1 + 0.2 + 0.1) + 2 * (6 * 10.0 - 3 * 0.2 + 3 * 0.1)) / 20, abs=0.01
    )


def test_pairs_of_different_classes_do_not_count() -> None:
    z, labels = views(12, 3, 4), torch.arange(12) % 3 - 1
    both = [concentration(z[labels == c], labels[labels == c], [1.0, 2.0]) for c in (0, 1)]
    found = concentration(z, labels, [1.0, 2.0])
    assert found.distance == pytest.approx((both[0].distance + both[1].distance) / 2)
    assert found.sigma[0] == pytest.approx((both[0].sigma[0] + both[1].sigma[0]) / 2)
    levels = concentration(z, labels)
    assert list(levels.deltas) == sorted(levels.deltas)
    assert list(levels.sigma) == sorted(levels.sigma)
    with pytest.raises(ValueError, match="no class has two"):
        concentration(z[:2], torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="one for each of 12"):
        unwrap(concentration)(z, labels[:3])


def test_centres_equal_loops() -> None:
    z, labels = views(10, 3, 4), torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, -1])
    found = centres(5 * z, labels, epsilon=1.0)
    unit = z / z.norm(dim=-1, keepdim=True)
    mu = [unit[labels == k].reshape(-1, 4).mean(0) for k in range(3)]
    pairs = [[float((a - b).square().sum()) for a, b in combinations(unit[i], 2)] for i in range(9)]
    assert found.alignment == pytest.approx(np.mean(pairs))
    assert found.spread == pytest.approx(1 - min(float(m @ m) for m in mu))
    assert found.divergence == pytest.approx(max(float(a @ b) for a, b in combinations(mu, 2)))
    assert found.scattered == pytest.approx(np.mean([max(p) > 1.0 for p in pairs]))
    wrong = [
        int(np.argmin([float((v - m).norm()) for m in mu])) != int(labels[i])
        for i in range(9)
        for v in unit[i]
    ]
    assert found.error == pytest.approx(np.mean(wrong))


def test_centres_at_their_limits() -> None:
    collapsed = torch.ones(6, 2, 3)
    found = centres(collapsed, torch.tensor([0, 0, 0, 1, 1, 1]))
    assert (found.alignment, found.spread, found.scattered) == (0.0, 0.0, 0.0)
    assert found.divergence == pytest.approx(1)
    assert found.error == 0.5
    assert math.isnan(centres(collapsed, torch.zeros(6, dtype=torch.long)).divergence)
    with pytest.raises(ValueError, match="two views"):
        centres(collapsed[:, :1], torch.zeros(6, dtype=torch.long))
    with pytest.raises(ValueError, match="one of which"):
        centres(collapsed, -torch.ones(6, dtype=torch.long))
