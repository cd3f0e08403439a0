"""Alignment, uniformity, and the contrastive gap losses built on them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.losses import (
    AlignUniformLoss,
    ContrastiveGapLoss,
    InfoNCELoss,
    alignment,
    cross_uniformity,
    uniformity,
)
from counterpoint.pairwise import evaluate_with
from fixtures.vectors import F64, unit


def test_collapsed_features_have_uniformity_zero() -> None:
    assert uniformity(F.normalize(torch.ones(6, 4, dtype=F64), dim=-1)).item() == pytest.approx(0, abs=1e-12)


def test_opposite_points() -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=F64)
    assert uniformity(x).item() == pytest.approx(-8.0)
    assert alignment(x, -x).item() == pytest.approx(4.0)
    assert alignment(x, -x, alpha=1.0).item() == pytest.approx(2.0)


@pytest.mark.parametrize("d", [64, 256])
def test_random_points_on_a_large_sphere(d: int) -> None:
    # -4 + 8/d up to O(1/d^2); the sample of 2,000 points adds less than 0.001.
    assert uniformity(unit(2000, d)).item() == pytest.approx(-4 + 8 / d, abs=0.01)


@given(n=st.integers(2, 20), d=st.integers(1, 6), t=st.floats(0.1, 5.0))
def test_is_the_log_of_the_mean_over_distinct_pairs(n: int, d: int, t: float) -> None:
    x = unit(n, d)
    expected = torch.pdist(x).square().mul(-t).exp().mean().log()
    torch.testing.assert_close(uniformity(x, t=t), expected, rtol=1e-9, atol=1e-9)


def test_a_single_point_warns_and_counts_zero() -> None:
    with pytest.warns(UserWarning, match="fewer than 2 points"):
        assert uniformity(unit(1, 4)).item() == 0.0


def test_uniformity_is_per_view_and_not_of_the_pooled_views() -> None:
    x, y = unit(8, 4), unit(8, 4, seed=1)
    expected = alignment(x, y) + (uniformity(x) + uniformity(y)) / 2
    torch.testing.assert_close(AlignUniformLoss()(x, y), expected)
    assert abs(AlignUniformLoss()(x, y) - alignment(x, y) - uniformity(torch.cat([x, y]))) > 1e-3


def test_weight_zero_leaves_the_other_term() -> None:
    x, y = unit(8, 4), unit(8, 4, seed=1)
    torch.testing.assert_close(AlignUniformLoss(2.0, 0.0)(x, y), 2 * alignment(x, y))
    torch.testing.assert_close(AlignUniformLoss(0.0, 1.0)(x, x), uniformity(x))


def test_perfect_matches_have_finite_gradients_for_any_alpha() -> None:
    for alpha in (1.0, 1.5, 2.0, 3.0):
        x = unit(5, 3).requires_grad_()
        AlignUniformLoss(alpha=alpha)(x, x.detach()).backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()


def test_contrastive_limit_theorem_falls_like_one_over_root_m() -> None:
    # L - log M -> -E[x.y]/tau + E log E exp(x.x'/tau): the error is much smaller with 64 times the negatives.
    tau, d = 0.5, 8
    big = unit(6000, d, seed=5)
    limit = -1 / tau + (unit(300, d, seed=6) @ big.T / tau).exp().mean(1).log().mean()
    errors = []
    for m in (8, 512):
        x, negatives = unit(300, d, seed=7), unit(300 * m, d, seed=8).view(300, m, d)
        s = torch.cat([torch.full((300, 1), 1 / tau), torch.einsum("nd,nmd->nm", x, negatives) / tau], 1)
        errors.append(abs((s.logsumexp(1) - 1 / tau).mean() - math.log(m) - limit))
    assert errors[1] < errors[0] / 8


def test_gap_losses_reduce_to_clip_and_add_their_terms() -> None:
    x, y = unit(8, 4), unit(8, 4, seed=1)
    clip = InfoNCELoss(0.1)(x, y)
    bare = ContrastiveGapLoss(0.1, alignment=0.0, uniformity=0.0)
    torch.testing.assert_close(bare(x, y), clip)
    cua = clip + alignment(x, y) + (uniformity(x) + uniformity(y)) / 2
    torch.testing.assert_close(ContrastiveGapLoss(0.1)(x, y), cua)
    cuaxu = cua + cross_uniformity(x, y)
    torch.testing.assert_close(ContrastiveGapLoss(0.1, cross_uniformity=1.0)(x, y), cuaxu)


def test_cross_uniformity_leaves_matched_pairs_out() -> None:
    x, y = unit(6, 4), unit(6, 4, seed=1)
    pairs = torch.cdist(x, y).square().mul(-2).exp()
    off = pairs[~torch.eye(6, dtype=torch.bool)].mean().log()
    torch.testing.assert_close(cross_uniformity(x, y), off)


@pytest.mark.parametrize("tile", [32, 64, 300])
def test_float32_tiles_agree_with_float64(tile: int) -> None:
    x = unit(300, 16)
    with evaluate_with("tiled", tile=tile):
        single = uniformity(x.float())
    torch.testing.assert_close(single.double(), uniformity(x), rtol=1e-5, atol=1e-5)
