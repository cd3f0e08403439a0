from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch import Tensor

from counterpoint.diagnostics import (
    alignment,
    collapse_warning,
    effective_rank,
    explained_variance,
    geometry,
    std_per_dimension,
    tolerance,
    uniformity,
)


def cloud(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def looped_uniformity(z: Tensor, t: float) -> float:
    units = [row / row.norm() for row in z]
    pairs = [math.exp(-t * float((a - b).square().sum())) for i, a in enumerate(units) for b in units[:i]]
    return math.log(sum(pairs) / len(pairs))


@given(st.integers(2, 12), st.integers(1, 5), st.sampled_from([1.0, 2.0, 3.0]), st.integers(0, 9))
def test_uniformity_is_the_log_of_the_mean_over_distinct_pairs(n: int, d: int, t: float, seed: int) -> None:
    z = cloud(n, d, seed)
    assert uniformity(z, t) == pytest.approx(looped_uniformity(z, t), abs=1e-9)


def test_uniformity_in_blocks_equals_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    z = cloud(50, 6)
    whole = uniformity(z)
    monkeypatch.setattr(geometry, "BLOCK", 7)
    assert uniformity(z) == pytest.approx(whole, abs=1e-12)


def test_uniformity_at_its_limits() -> None:
    assert uniformity(torch.ones(9, 4)) == pytest.approx(0, abs=1e-12)
    d = 256
    assert uniformity(cloud(3000, d)) == pytest.approx(-4 + 8 / d, abs=0.005)
    z = cloud(20, 5)
    assert uniformity(7 * z) == pytest.approx(uniformity(z))
    assert math.isnan(uniformity(cloud(1, 4)))


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.0])
def test_alignment_equals_loops_and_ignores_lengths(alpha: float) -> None:
    x, y = cloud(15, 4, 1), cloud(15, 4, 2)
    expected = (
        sum(float((a / a.norm() - b / b.norm()).norm()) ** alpha for a, b in zip(x, y, strict=True)) / 15
    )
    assert alignment(3 * x, y, alpha) == pytest.approx(expected)
    assert alignment(x, 5 * x, alpha) == pytest.approx(0, abs=1e-12)
    assert alignment(x, -x, alpha) == pytest.approx(2**alpha)
    with pytest.raises(ValueError, match="matched rows"):
        alignment(x, y[:3])


@given(st.integers(2, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 9))
def test_tolerance_is_mean_cosine_of_distinct_items_of_a_class(n: int, d: int, k: int, seed: int) -> None:
    z = cloud(n, d, seed)
    labels = torch.randint(-1, k, (n,), generator=torch.Generator().manual_seed(seed))
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j and labels[i] == labels[j] >= 0]
    cosines = [float(z[i] @ z[j] / (z[i].norm() * z[j].norm())) for i, j in pairs]
    found = tolerance(z, labels)
    assert math.isnan(found) if not pairs else found == pytest.approx(sum(cosines) / len(pairs), abs=1e-9)


def test_tolerance_rises_one_under_collapse_where_uniformity() -> None:
    labels = torch.arange(40) % 4
    spread = cloud(40, 16)
    for z in (spread, spread + 3, spread + 1e4):
        assert tolerance(z, labels) == pytest.approx(tolerance(5 * z, labels))
    assert abs(tolerance(spread, labels)) < 0.1
    assert tolerance(spread + 1e4, labels) == pytest.approx(1, abs=1e-6)
    assert uniformity(spread + 1e4) == pytest.approx(0, abs=1e-6)
    # Items of one class may be the same point while the classes are spread.
    assert tolerance(torch.eye(4)[labels], labels) == pytest.approx(1)
    assert uniformity(torch.eye(4)[labels]) < -1


def test_tolerance_wants_one_label_for_each_row() -> None:
    with pytest.raises(ValueError, match="one for each of 5 rows"):
        unwrap(tolerance)(cloud(5, 3), torch.zeros(4, dtype=torch.long))
    assert math.isnan(tolerance(cloud(3, 2), torch.arange(3)))


def test_effective_rank_counts_equal_directions() -> None:
    basis = torch.linalg.qr(cloud(12, 12)).Q
    for rank in (1, 3, 12):
        assert effective_rank(basis[:, :rank] @ basis[:rank]) == pytest.approx(rank)
    unequal = torch.diag(torch.tensor([3.0, 1.0]))
    p = [0.75, 0.25]
    assert effective_rank(unequal) == pytest.approx(math.exp(-sum(q * math.log(q) for q in p)))
    assert math.isnan(effective_rank(torch.zeros(4, 3)))


def test_explained_variance_and_components_equal_scikit_learn() -> None:
    z = cloud(40, 8) * torch.logspace(0, -2, 8).double() + 5
    expected = PCA().fit(z.numpy()).explained_variance_ratio_.cumsum()
    torch.testing.assert_close(explained_variance(z), torch.from_numpy(expected))
    assert geometry.components(z) == float((expected < 0.99).sum() + 1)
    assert geometry.components(z, 1.0) == 8
    assert math.isnan(geometry.components(torch.ones(5, 3)))


def test_spread_directions_have_a_deviation_of_one_over_root_d() -> None:
    z = cloud(4000, 64)
    torch.testing.assert_close(
        std_per_dimension(z), torch.full((64,), 1 / 8, dtype=torch.float64), rtol=0.06, atol=0
    )
    assert std_per_dimension(torch.ones(5, 3)).max().item() == pytest.approx(0, abs=1e-12)


def test_collapse_is_named_and_healthy_clouds_are_not() -> None:
    healthy = F.normalize(cloud(64, 32), dim=-1)
    assert collapse_warning(healthy) is None
    # The narrow cone that a modality occupies is no collapse.
    assert collapse_warning(F.normalize(healthy + 1 / 32**0.5, dim=-1)) is None
    point = torch.ones(64, 32) + 1e-3 * cloud(64, 32)
    assert "collapsed to a point" in str(collapse_warning(point))
    line = torch.sign(cloud(64, 1)) * torch.linspace(-1, 1, 32)
    assert "collapsed to a line" in str(collapse_warning(line))
    assert "NaN" in str(collapse_warning(torch.full((64, 32), torch.nan)))
    assert collapse_warning(torch.ones(3, 32)) is None
    assert collapse_warning(healthy.requires_grad_()) is None
