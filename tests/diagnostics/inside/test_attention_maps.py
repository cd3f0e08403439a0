from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from counterpoint.diagnostics.internals.attention import (
    aligned,
    class_share,
    distance,
    head_deviation,
    looked_at,
    offsets,
    overlap,
    position_deviation,
    salient,
    spatial,
)


def uniform(k: int) -> Tensor:
    return torch.full((1, 1, k * k, k * k), 1 / (k * k), dtype=torch.float64)


def shifted(k: int, down: int, right: int) -> Tensor:
    """Every query looks at the patch (down, right) of it, where there is one, else nowhere."""
    found = torch.zeros(1, 1, k * k, k * k, dtype=torch.float64)
    for i in range(k):
        for j in range(k):
            if 0 <= i + down < k and 0 <= j + right < k:
                found[0, 0, i * k + j, (i + down) * k + j + right] = 1
    return found


def random_attention(n: int, heads: int = 3) -> Tensor:
    scores = torch.randn(2, heads, n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return scores.softmax(-1)


@pytest.mark.parametrize(("k", "expected"), [(7, 0.602), (14, 0.560), (60, 0.530)])
def test_uniform_attention_mean_distance_of_grid_and_no_offset(k: int, expected: float) -> None:
    assert float(distance(uniform(k), (k, k))) == pytest.approx(expected, abs=1e-3)
    if k < 20:
        found = offsets(aligned(uniform(k), (k, k)))
        assert float(found.steps) == pytest.approx(0, abs=1e-9)
        assert not found.local().any()


def test_attention_to_oneself_has_no_distance() -> None:
    eye = torch.eye(25, dtype=torch.float64)[None, None]
    assert float(distance(eye, (5, 5))) == 0
    found = offsets(aligned(eye, (5, 5)))
    assert float(found.peak) == pytest.approx(1)
    assert not found.local().any()


@pytest.mark.parametrize(("down", "right"), [(0, 1), (-1, 0), (2, -1)])
def test_a_known_shift_is_recovered(down: int, right: int) -> None:
    k = 7
    patches = shifted(k, down, right)
    assert float(distance(patches, (k, k))) == pytest.approx(math.hypot(down, right) / (k - 1))
    found = offsets(aligned(patches, (k, k)))
    torch.testing.assert_close(found.centre[0] * (k - 1), torch.tensor([right, down], dtype=torch.float64))
    assert float(found.steps) == pytest.approx(math.hypot(down, right))
    assert bool(found.local()) == (math.hypot(down, right) > 0.5)


def test_the_edges_do_not_dilute_the_aligned_map() -> None:
    found = aligned(shifted(5, 0, 3), (5, 5))
    assert (
        float(found[0, 4, 4 + 3]) == 1
    )  # two of five columns have such a neighbour, and all of them look there
    assert float(found.sum()) == 1


def test_grids_need_not_be_square() -> None:
    patches = torch.full((1, 1, 6, 6), 1 / 6)
    points = torch.tensor([[i / 1, j / 2] for i in range(2) for j in range(3)])
    assert float(distance(patches, (2, 3))) == pytest.approx(
        float(torch.cdist(points, points).mean()), rel=1e-5
    )
    assert aligned(patches, (2, 3)).shape == (1, 3, 5)


def test_the_class_token_is_taken_from_both_axes() -> None:
    attention = random_attention(10)
    patches = spatial(attention, 1)
    torch.testing.assert_close(patches.sum(-1), torch.ones(2, 3, 9, dtype=torch.float64))
    torch.testing.assert_close(
        patches[..., 0, 1] / patches[..., 0, 2], attention[..., 1, 2] / attention[..., 1, 3]
    )
    torch.testing.assert_close(class_share(attention, 1), attention[:, :, 1:, 0].mean((0, 2)))
    assert not class_share(attention, 0).any()


def test_a_head_that_dumps_on_the_class_token_is_not_local() -> None:
    dump = torch.zeros(1, 1, 10, 10)
    dump[..., 0] = 1
    patches = spatial(dump, 1)
    assert not patches.any()
    assert math.isnan(float(distance(patches, (3, 3))))
    half = torch.cat([dump, torch.full((1, 1, 10, 10), 0.1)])
    assert float(distance(spatial(half, 1), (3, 3))) == pytest.approx(
        float(distance(torch.full((1, 1, 9, 9), 1 / 9), (3, 3)))
    )


def test_a_repeating_map_does_not_depend_on_the_query() -> None:
    row = torch.rand(9, generator=torch.Generator().manual_seed(0))
    repeating = (row / row.sum()).expand(2, 1, 9, 9)
    assert float(position_deviation(repeating)) == pytest.approx(0, abs=1e-7)
    assert float(position_deviation(torch.eye(9)[None, None])) == pytest.approx(math.sqrt(8) / 9)
    assert head_deviation(repeating.expand(2, 4, 9, 9)) == pytest.approx(0, abs=1e-7)
    assert head_deviation(random_attention(9)) > 0.01


def test_saliency_keeps_the_fewest_patches_that_hold_the_mass() -> None:
    weights = random_attention(9)[:, 0]
    chosen = salient(weights, 0.6)
    held = (weights * chosen).sum(-1)
    least = torch.where(chosen, weights, torch.inf).min(-1).values
    assert (held >= 0.6 - 1e-6).all()
    assert (held - least < 0.6).all()
    torch.testing.assert_close(salient(3 * weights), chosen)
    assert overlap(chosen, chosen).min() == 1
    assert torch.isnan(overlap(torch.zeros(4).bool(), torch.zeros(4).bool()))


def test_looked_at_is_class_token_s_attention_or_mean_of_patches() -> None:
    attention = random_attention(10)
    seen = looked_at(attention, 1)
    torch.testing.assert_close(seen.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    torch.testing.assert_close(seen[..., 2] / seen[..., 5], attention[:, :, 0, 3] / attention[:, :, 0, 6])
    torch.testing.assert_close(looked_at(attention, 0), attention.mean(2))
    dump = torch.zeros(1, 1, 10, 10)
    dump[..., 0] = 1
    assert not looked_at(dump, 1).any()
    object = torch.zeros(1, 1, 9, dtype=torch.bool)
    object[..., :3] = True
    on_it = torch.full((1, 1, 10, 10), 1e-9, dtype=torch.float64)
    on_it[..., 0, 1:4] = 1 / 3
    assert overlap(salient(looked_at(on_it, 1), 0.99), object).item() == 1
