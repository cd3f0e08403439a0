"""Mixture of Features: limits, order, gradients, and towers that do not fit."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.networks import AdditiveMixture, InterleavedMixture, initialise
from counterpoint.networks.towers.transformer import VisionTransformer


def tokens(n: int = 4, width: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(2, n, width, generator=torch.Generator().manual_seed(seed))


def test_alpha_0_is_the_first_tower_and_alpha_1_the_second() -> None:
    a, b = tokens(), tokens(seed=1)
    for alpha, alone in ((0.0, a), (1.0, b)):
        mixture = AdditiveMixture(6, 8, alpha)
        assert torch.equal(mixture(a, b), mixture.project(alone))


def test_the_sum_is_weighted_before_the_projector() -> None:
    a, b = tokens(), tokens(seed=1)
    mixture = AdditiveMixture(6, 8, 0.25)
    first, _, last = mixture.project
    mixed = 0.25 * b + 0.75 * a
    expected = F.gelu(mixed @ first.weight.T + first.bias) @ last.weight.T + last.bias  # type: ignore[operator, union-attr]
    torch.testing.assert_close(mixture(a, b), expected)
    assert mixture(a, b).shape == (2, 4, 8)
    assert torch.allclose(mixture(a, a), mixture.project(a))


def test_interleaved_tokens_one_place_neighbours_first_tower_s() -> None:
    a, b = tokens(), tokens(width=5, seed=1)
    mixture = InterleavedMixture((6, 5), 8)
    found = mixture(a, b)
    assert found.shape == (2, 8, 8)
    torch.testing.assert_close(found[:, 0::2], mixture.first(a))
    torch.testing.assert_close(found[:, 1::2], mixture.second(b))


def test_projectors_are_apart_and_have_gradients_of_their_own() -> None:
    mixture = InterleavedMixture((6, 6), 8)
    mixture(tokens(), tokens(seed=1))[:, 1::2].sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in mixture.first.parameters())
    assert all(p.grad is not None and p.grad.any() for p in mixture.second.parameters())
    assert len({id(p) for p in mixture.parameters()}) == 8


def test_two_towers_of_one_grid_feed_it_and_seed_fixes_its_start() -> None:
    towers = [VisionTransformer(size=16, patch=8, width=width, depth=1, heads=2) for width in (8, 12)]
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    states = [tower.patches(pictures).flatten(2).mT for tower in towers]
    one, two = InterleavedMixture((8, 12), 16), InterleavedMixture((8, 12), 16)
    for mixture in (one, two):
        initialise(mixture, 0, "mixture")
    assert torch.equal(one(*states), two(*states))
    assert one(*states).shape == (2, 8, 16)


def test_what_does_not_fit_is_named() -> None:
    for mixture in (AdditiveMixture(6, 8), InterleavedMixture((6, 6), 8)):
        with pytest.raises(ValueError, match="got 4 of 2 and 9 of 2 pictures"):
            mixture(tokens(), tokens(9))
