"""The sparse tower: what a token samples, how far gradients of points reach, and what is taken over from a ViT."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.networks import initialise
from counterpoint.networks.towers.sparse import RegionSampler, SparseTransformer, StartRegions, sample
from counterpoint.networks.towers.transformer import VisionTransformer
from counterpoint.recipes.schema import Optimizer
from counterpoint.training.step.optim import optimizer_of

SIZES = {"size": 16, "width": 16, "heads": 2}


def sparse(depth: int = 6, **options: int) -> SparseTransformer:
    tower = SparseTransformer(**SIZES, depth=depth, tokens=5, points=4, channels=8, **options)
    initialise(tower, 0)
    return tower


def vit(depth: int = 6) -> VisionTransformer:
    tower = VisionTransformer(**SIZES, patch=4, depth=depth)
    initialise(tower, 1)
    return tower


def test_points_are_sampled_between_pixel_centres_and_held_at_the_border() -> None:
    features = torch.arange(12.0).view(1, 1, 3, 4)
    points = torch.tensor([[[[0.5, 0.5], [0.125, 1 / 6], [-3.0, 0.5], [0.25, 9.0]]]])
    assert sample(features, points)[0, 0, :, 0].tolist() == pytest.approx([5.5, 0, 4, 8.5], abs=1e-5)


def test_gradients_of_points_are_no_longer_than_a_cell() -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 2, 8, 8, dtype=torch.float64) * torch.tensor([1e-6, 1e3]).view(1, 2, 1, 1)
    points = (0.1 + 0.8 * torch.rand(1, 3, 4, 2, dtype=torch.float64)).requires_grad_()
    plain = points.detach().clone().requires_grad_()
    torch.autograd.backward(sample(features, points)[..., 1].sum())
    torch.autograd.backward(
        F.grid_sample(features, 2 * plain - 1, padding_mode="border", align_corners=False)[:, 1].sum()
    )
    assert points.grad is not None
    assert plain.grad is not None
    assert plain.grad.norm(dim=-1).min() > 1 / 8
    torch.testing.assert_close(points.grad.norm(dim=-1), torch.full((1, 3, 4), 1 / 8).double())
    torch.testing.assert_close(F.normalize(points.grad, dim=-1), F.normalize(plain.grad, dim=-1))
    small = points.detach().clone().requires_grad_()
    torch.autograd.backward(sample(features, small)[..., 0].sum())
    assert small.grad is not None
    plain.grad = None
    torch.autograd.backward(
        F.grid_sample(features, 2 * plain - 1, padding_mode="border", align_corners=False)[:, 0].sum()
    )
    torch.testing.assert_close(small.grad, plain.grad)


def test_every_token_starts_from_a_grid_of_points_over_its_region() -> None:
    regions = StartRegions(5)()
    assert regions[4].tolist() == [0.5, 0.5, 1.0, 1.0]
    assert regions[:4].tolist() == [[x, y, 0.5, 0.5] for y in (0.25, 0.75) for x in (0.25, 0.75)]
    sampler = RegionSampler(8, 4, 6)
    sampler.offsets.reset_parameters()
    x = torch.randn(2, 5, 8)
    points = sampler.points_of(x, regions.expand(2, -1, -1))
    # Four points at ±0.5 have a deviation of √(1/3), so that they lie at ±0.5/√3 of the size.
    offset = 0.5 / 3**0.5
    expected = torch.tensor([[a, b] for a in (-offset, offset) for b in (-offset, offset)])
    torch.testing.assert_close(points[0, 4], 0.5 + expected)
    torch.testing.assert_close(points[1, 0], 0.25 + 0.5 * expected)


def test_every_weight_is_drawn_from_the_seed() -> None:
    towers = [SparseTransformer(**SIZES, depth=6, tokens=5, points=4, channels=8) for _ in range(2)]
    for tower in towers:
        for value in tower.parameters():
            value.data.fill_(float("nan"))
        initialise(tower, 3)
    one, other = (tower.state_dict() for tower in towers)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_regions_move_and_the_encoding_of_one_has_no_gradient() -> None:
    tower = sparse()
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        tower.move.bias.copy_(torch.tensor([0.1, 0.0, 0.2, 0.0]))
    _, regions, _ = tower.focused(images)
    start = tower.regions()
    growth = torch.tensor(0.2)
    centre, size = start[:, 0], start[:, 2]
    for _ in range(4):
        centre, size = centre + 0.1 * size, size * growth.exp()
    torch.testing.assert_close(regions[0, :, 0], centre)
    torch.testing.assert_close(regions[0, :, 2], size)
    torch.testing.assert_close(regions[0, :, 1::2], start[:, 1::2])
    # Without a point that depends on it, nothing of a region is learned.
    features = torch.ones(1, 8, 4, 4)
    moved = start[None].detach().requires_grad_()
    torch.autograd.backward(tower.refocus(torch.randn(1, 5, 16), moved, features).sum())
    assert moved.grad is None or not moved.grad.any()


def test_first_third_is_replaced_and_the_last_third_stays_as_it_is() -> None:
    tower, other = sparse(), vit()
    assert len(tower.blocks) == 4
    tower.inherit(other)
    for mine, its in zip(tower.blocks, other.blocks[2:], strict=True):
        for name, weight in mine.state_dict().items():
            assert torch.equal(weight, its.state_dict()[name])
    moves = [all(p.requires_grad for p in block.parameters()) for block in tower.blocks]
    stays = [not any(p.requires_grad for p in block.parameters()) for block in tower.blocks]
    assert moves == [True, True, False, False]
    assert stays == [False, False, True, True]
    assert torch.equal(tower.norm.weight, other.norm.weight)
    assert not tower.norm.weight.requires_grad
    assert [len(SparseTransformer(**SIZES, depth=depth).blocks) for depth in (2, 3, 4, 12)] == [1, 2, 2, 8]
    with pytest.raises(ValueError, match=r"cannot inherit from one of 4 and 16: set towers\.image_layers"):
        tower.inherit(vit(4))


def test_regions_do_not_decay() -> None:
    tower = sparse()
    optimizer = optimizer_of(tower, Optimizer())
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decays[id(tower.regions.boxes)] == 0
    assert decays[id(tower.widen.weight)] > 0


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValueError, match="one point have no deviation"):
        RegionSampler(8, 1, 6)
    with pytest.raises(ValueError, match="its half is not a multiple of the 4"):
        SparseTransformer(width=20)
    images: Tensor = torch.rand(1, 3, 16, 16)
    with pytest.raises(LookupError, match="no features of single places"):
        sparse().patches(images)
