from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor

from counterpoint.diagnostics.internals.cka import CKA, hsic


def cloud(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gram(z: Tensor) -> Tensor:
    return (z @ z.T).fill_diagonal_(0)


def test_hsic_is_the_u_statistic_over_four_different_examples() -> None:
    k, m = gram(cloud(6, 3)), gram(cloud(6, 4, 1))
    terms = [k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in permutations(range(6), 4)]
    assert float(hsic(k, m)) == pytest.approx(float(torch.stack(terms).mean()))


def test_rotation_scale_and_shift_change_nothing() -> None:
    x = cloud(40, 6)
    rotation = torch.linalg.qr(cloud(6, 6, 1)).Q
    for y in (x @ rotation, -3 * x, x + 100, x.reshape(40, 2, 3)):
        assert float(CKA().update([x], [y]).value()) == pytest.approx(1)


def test_unrelated_features_are_about_zero_however_wide() -> None:
    # The biased estimator would give nearly 1 here: 20 examples in 500 dimensions.
    values = [float(CKA().update([cloud(20, 500, s)], [cloud(20, 500, s + 100)]).value()) for s in range(20)]
    assert sum(values) / 20 == pytest.approx(0, abs=0.03)


def test_batches_are_averaged_before_the_ratio() -> None:
    x, y = cloud(24, 4), cloud(24, 4) + 0.5 * cloud(24, 4, 1)
    parts = [(gram(x[s]), gram(y[s])) for s in (slice(0, 8), slice(8, 16), slice(16, 24))]
    cross, own_x, own_y = (
        sum(float(hsic(*pair)) for pair in pairs)
        for pairs in (parts, [(k, k) for k, _ in parts], [(m, m) for _, m in parts])
    )
    found = CKA()
    for s in (slice(0, 8), slice(8, 16), slice(16, 24)):
        found.update([x[s], y[s]], [y[s]])
    assert float(found.value()[0, 0]) == pytest.approx(cross / math.sqrt(own_x * own_y))
    assert float(found.value()[1, 0]) == pytest.approx(1)
    assert found.value().shape == (2, 1)


def test_a_constant_layer_and_small_batches() -> None:
    assert torch.isnan(CKA().update([torch.ones(5, 3)], [cloud(5, 3)]).value()).all()
    with pytest.raises(ValueError, match="4 at least"):
        CKA().update([cloud(3, 3)], [cloud(3, 3)])
    with pytest.raises(ValueError, match="same examples"):
        CKA().update([cloud(5, 3)], [cloud(6, 3)])
