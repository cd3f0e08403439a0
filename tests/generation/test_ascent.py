"""Ascent on pictures: the ball, the range of values, the signs, and what random views change."""

from __future__ import annotations

import torch
from torch import nn

from counterpoint.generation import draw_pictures, fit_pixels, gaussian_pictures, perturb, random_views
from counterpoint.generation.ascent import COARSE


def test_attack_raises_the_loss_within_the_ball_and_the_range() -> None:
    torch.manual_seed(0)
    net = nn.Linear(3 * 64, 5)
    pictures = torch.rand(6, 3, 8, 8)
    pictures[0] = 1.0  # at the edge of the range
    labels = torch.arange(6) % 5

    def loss(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(net(x.flatten(1)), labels)

    attacked = perturb(pictures, loss, radius=0.3, steps=5)
    assert loss(attacked) > loss(pictures)
    assert (attacked - pictures).flatten(1).norm(dim=1).max() <= 0.3 + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert net.weight.grad is None
    assert not attacked.requires_grad


def test_an_attack_of_one_linear_loss_ends_on_the_ball_in_closed_form() -> None:
    direction = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    grey = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    attacked = perturb(grey, lambda x: (x * direction).sum(), radius=0.2, steps=4)
    torch.testing.assert_close(attacked, grey + 0.2 * direction / direction.norm())


def test_a_gradient_of_zero_moves_nothing() -> None:
    grey = torch.full((2, 3, 4, 4), 0.5)
    assert torch.equal(perturb(grey, lambda x: 0 * x.sum(), radius=1.0, steps=2), grey)


def test_fitting_lowers_the_loss_within_the_range() -> None:
    target, start = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    given = start.clone()
    fitted = fit_pixels(start, lambda x: (x - 2 * target).square().sum(), steps=30, rate=0.1)
    assert (fitted - (2 * target).clamp(max=1)).abs().mean() < 0.05
    assert fitted.max() <= 1
    assert torch.equal(start, given)


def test_gaussian_has_the_mean_and_covariance_of_the_pictures() -> None:
    torch.manual_seed(0)
    pictures = 0.5 + 0.1 * torch.randn(5, 3, COARSE, COARSE)  # no value is clipped
    drawn = gaussian_pictures(pictures, torch.randn(4000, 5)).flatten(1)[:, :6]
    x = pictures.flatten(1)[:, :6]
    torch.testing.assert_close(drawn.mean(0), x.mean(0), atol=0.015, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), x.T.cov(correction=0), atol=1.5e-3, rtol=0)


def test_views_pass_gradients_and_are_drawn() -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 3, 16, 16, requires_grad=True)
    views = random_views(x)
    assert not torch.equal(views, random_views(x))
    (gradient,) = torch.autograd.grad(views.sum(), x)
    assert (gradient != 0).flatten(1).any(1).all()


def test_drawing_fits_its_targets_and_repeats_by_seed() -> None:
    examples, targets = torch.rand(8, 3, 16, 16), torch.eye(3)

    def drawn(seed: int) -> torch.Tensor:
        return draw_pictures(lambda x: x.mean((2, 3)), targets, examples, steps=20, seed=seed)

    state = torch.get_rng_state()
    pictures = drawn(0)
    assert torch.equal(torch.get_rng_state(), state)
    assert pictures.mean((2, 3)).argmax(1).tolist() == [0, 1, 2]
    assert torch.equal(pictures, drawn(0))
    assert not torch.equal(pictures, drawn(1))
