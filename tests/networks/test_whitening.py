"""Group whitening: unit covariance, shuffles undone, degenerate groups, gradients with and without the matrix."""

from __future__ import annotations

from inspect import unwrap

import pytest
import torch
from torch import Tensor, nn

from counterpoint.networks import GroupWhitening

F64 = torch.float64


def correlated(n: int = 50, width: int = 6, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=g, dtype=F64)
    return torch.randn(n, width, generator=g, dtype=F64) @ mixing + 3


def covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / len(x)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_each_group_has_mean_0_and_covariance_1(groups: int) -> None:
    white = GroupWhitening(6, groups, eps=1e-9)(correlated())
    assert white.mean(0).abs().max() < 1e-12
    size = 6 // groups
    for g in range(groups):
        of_group = covariance(white[:, g * size : (g + 1) * size])
        torch.testing.assert_close(of_group, torch.eye(size, dtype=F64), rtol=0, atol=1e-4)


def test_groups_do_not_know_of_each_other() -> None:
    x = correlated()
    white = GroupWhitening(6, 3)(x)
    assert covariance(white)[0, 2:].abs().max() > 0.01
    alone = torch.cat([GroupWhitening(2, 1)(x[:, k : k + 2]) for k in (0, 2, 4)], 1)
    torch.testing.assert_close(white, alone, rtol=1e-10, atol=1e-12)


def test_a_shuffle_regroups_the_channels_and_is_undone() -> None:
    x, shuffle = correlated(), torch.tensor([3, 0, 5, 1, 4, 2])
    layer = GroupWhitening(6, 3, eps=1e-9)
    white = layer(x, shuffle)
    torch.testing.assert_close(white[:, shuffle], layer(x[:, shuffle]), rtol=0, atol=0)
    pair = covariance(white[:, [3, 0]])
    torch.testing.assert_close(pair, torch.eye(2, dtype=F64), rtol=0, atol=1e-6)
    # Channel k of the output belongs to channel k of the input.
    assert ((white * (x - x.mean(0))).mean(0) > 0).all()


def test_shuffles_distort_differently_except_within_groups() -> None:
    x, layer = correlated(), GroupWhitening(6, 3)
    plain = layer(x)
    other = layer(x, torch.tensor([0, 2, 1, 3, 4, 5]))
    assert (plain - other).abs().max() > 0.1
    swapped = layer(x, torch.tensor([3, 2, 0, 1, 5, 4]))
    torch.testing.assert_close(swapped, plain, rtol=1e-9, atol=1e-12)


def test_inner_products_within_group_survive_affine_map_of_it() -> None:
    x = correlated()
    g = torch.Generator().manual_seed(1)
    mapped = torch.cat([x[:, k : k + 3] @ torch.randn(3, 3, generator=g, dtype=F64) - 7 for k in (0, 3)], 1)
    layer = GroupWhitening(6, 2, eps=1e-12)
    one, other = layer(x), layer(mapped)
    for group in (slice(0, 3), slice(3, 6)):
        ours, theirs = (w[:, group] @ w[:, group].T for w in (one, other))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_groups_of_one_are_a_batch_norm() -> None:
    x = correlated()
    norm = nn.BatchNorm1d(6, eps=1e-3, affine=False).double()
    torch.testing.assert_close(GroupWhitening(6, 6, eps=1e-3)(x), norm(x), rtol=1e-10, atol=1e-12)


def test_is_zca_the_whitening_closest_to_the_input() -> None:
    # The root is symmetric: no rotation is left in it.
    x = correlated()
    centred = x - x.mean(0)
    whitener = torch.linalg.lstsq(centred, GroupWhitening(6, 1, eps=1e-12)(x)).solution
    torch.testing.assert_close(whitener, whitener.T, rtol=1e-6, atol=1e-8)
    assert (torch.linalg.eigvalsh((whitener + whitener.T) / 2) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("detach", [True, False])
def test_few_examples_and_dead_channels_stay_finite(dtype: torch.dtype, detach: bool) -> None:
    x = (100 * correlated(n=3)).to(dtype)
    x[:, 4] = 5.0
    x[:, 5] = x[:, 3]
    x.requires_grad_()
    white = GroupWhitening(6, 1, detach=detach)(x)
    (grad,) = torch.autograd.grad(white.square().sum(), x)
    assert white.isfinite().all()
    assert grad.isfinite().all()
    assert (GroupWhitening(6, 6)(x)[:, 4] == 0).all()


def test_one_example_is_whitened_to_nothing() -> None:
    assert (GroupWhitening(6, 2)(correlated(n=1)) == 0).all()


def test_a_detached_matrix_is_a_constant_to_the_gradient() -> None:
    x = correlated().requires_grad_()
    weights = torch.arange(300, dtype=F64).view(50, 6).cos()
    (ours,) = torch.autograd.grad((GroupWhitening(6, 1)(x) * weights).sum(), x)
    values, vectors = torch.linalg.eigh(covariance(x.detach()))
    matrix = vectors @ torch.diag((values + 1e-5) ** -0.5) @ vectors.T
    (by_hand,) = torch.autograd.grad((((x - x.mean(0)) @ matrix) * weights).sum(), x)
    torch.testing.assert_close(ours, by_hand, rtol=1e-9, atol=1e-12)
    (full,) = torch.autograd.grad((GroupWhitening(6, 1, detach=False)(x) * weights).sum(), x)
    assert not torch.allclose(full, ours, rtol=1e-2)


def test_the_full_gradient_is_that_of_finite_differences() -> None:
    layer = GroupWhitening(4, 2, eps=1e-3, detach=False)
    x = correlated(n=5, width=4).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: layer(v, torch.tensor([2, 0, 3, 1])), x)


def test_the_full_gradient_is_right_where_eigenvalues_coincide() -> None:
    # Orthogonal channels of one variance: the eigenvectors have no derivative, the whitened features do.
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=F64).requires_grad_()
    layer = GroupWhitening(2, 1, eps=1e-3, detach=False)
    assert torch.autograd.gradcheck(layer, x)


def test_autocast_and_half_precision_whiten_in_float32() -> None:
    x = correlated().float()
    layer = GroupWhitening(6, 2)
    with torch.autocast("cpu", torch.bfloat16):
        white = layer(x)
    assert torch.equal(white, layer(x))
    half = layer(x.bfloat16())
    assert half.dtype == torch.float32
    assert torch.equal(half, layer(x.bfloat16().float()))


def test_bad_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="groups must divide the width of 6, got 4"):
        GroupWhitening(6, 4)
    layer = GroupWhitening(6, 3)
    with pytest.raises(ValueError, match="features must be of width=6, got 5"):
        layer(correlated(width=5))
    with pytest.raises(ValueError, match="the permutation must be of the 6 channels, got 5"):
        unwrap(GroupWhitening.forward)(layer, correlated(), torch.randperm(5))
