"""The loss around the weights: bowls in closed form, directions of the weights' length, weights left as they were."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.diagnostics.internals.landscape import directions, landscape


def weights() -> Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_directions_are_as_long_as_the_weights_place_by_place() -> None:
    w = weights()
    a, b = (directions([w], torch.Generator().manual_seed(seed))[0] for seed in (0, 1))
    torch.testing.assert_close(a.norm(dim=0), w.norm(dim=0))
    assert float(a.norm()) == pytest.approx(float(w.norm()))
    assert not torch.allclose(a, b)
    torch.testing.assert_close(directions([7 * w], torch.Generator().manual_seed(0))[0], 7 * a)


def test_a_round_bowl_rises_with_the_square_of_the_distance() -> None:
    w = weights()
    bottom, length = w.clone(), float(w.square().sum())
    found = landscape(lambda: (w - bottom).square().sum(), {"w": w}, points=21)
    assert found.here == 0
    assert found.lower() == 0
    at = found.at
    np.testing.assert_allclose(found.loss[:, 10], at**2 * length)
    np.testing.assert_allclose(found.loss[10], at**2 * length)
    # On a whole ring the two directions' product cancels, whatever angle they have.
    away = np.hypot(at[:, None], at[None])
    for radius in (0.2, 0.6, 1.0):
        ring = np.abs(away - radius) <= 0.05 + 1e-9
        assert found.rise(radius) == pytest.approx(length * float((away[ring] ** 2).mean()))
    assert math.isnan(found.rise(3.0))


def test_a_slope_is_lower_on_one_half() -> None:
    w = weights()
    slope = torch.randn(5, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = landscape(lambda: (slope * w).sum(), {"w": w}, points=11)
    assert found.lower() == pytest.approx((121 - 1) / 2 / 121)
    assert found.rise(1.0) == pytest.approx(0, abs=1e-9)


def test_norms_positions_stay_weights_as_before_after_failure() -> None:
    w, gain, position = weights(), torch.ones(4), torch.ones(3, 4)
    before, seen = w.clone(), []

    def loss() -> Tensor:
        seen.append((gain.clone(), position.clone(), w.clone()))
        if len(seen) == 5:
            raise RuntimeError("out of memory")
        return w.sum()

    named = {"w": w, "norm.weight": gain, "position_embedding.weight": position, "pos_embed": position}
    with pytest.raises(RuntimeError, match="out of memory"):
        landscape(loss, named, points=3)
    assert torch.equal(w, before)
    assert all(torch.equal(g, gain) and torch.equal(p, position) for g, p, _ in seen)
    assert not torch.equal(seen[0][2], before)


def test_an_overflow_is_part_of_the_map() -> None:
    w = torch.full((2, 2), 10.0)
    found = landscape(lambda: w.abs().sum().exp().exp(), {"w": w}, points=3)
    assert not np.isfinite(found.loss).all()


def test_bad_input_is_named() -> None:
    w = weights()
    for points in (1, 4):
        with pytest.raises(ValueError, match="odd number of points"):
            landscape(lambda: w.sum(), {"w": w}, points=points)
    with pytest.raises(ValueError, match="0 such weights"):
        landscape(lambda: w.sum(), {"bias": torch.zeros(3)})
