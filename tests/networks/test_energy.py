"""Langevin dynamics and the buffer: closed forms, the range, restarts, saving."""

from __future__ import annotations

import pytest
import torch

from counterpoint.networks.energy import ReplayBuffer, langevin


def test_without_noise_it_is_gradient_descent() -> None:
    start = torch.full((2, 3, 2, 2), 0.8)
    found = langevin(lambda x: x.square().sum((1, 2, 3)) / 2, start, steps=3, step_size=0.5, noise=0.0)
    torch.testing.assert_close(found, start * 0.5**3)
    assert torch.equal(start, torch.full((2, 3, 2, 2), 0.8))


def test_it_settles_at_the_distribution_of_a_small_step() -> None:
    """For E = x²/2 the stationary variance of x ← (1 − a) x + s ε is s² / (1 − (1 − a)²)."""
    torch.manual_seed(0)
    start = torch.zeros(500, 3, 4, 4)
    found = langevin(lambda x: x.square().sum((1, 2, 3)) / 2, start, steps=60, step_size=0.1, noise=0.05)
    assert found.var().item() == pytest.approx(0.05**2 / (1 - 0.9**2), rel=0.05)


def test_it_stays_in_range_and_leaves_no_gradient() -> None:
    weight = torch.ones(3, requires_grad=True)
    found = langevin(lambda x: (x.mean((2, 3)) * weight).sum(1), torch.zeros(1, 3, 2, 2), step_size=100.0)
    assert found.abs().max() <= 1
    assert weight.grad is None
    assert not found.requires_grad


def test_chains_go_on_where_they_stood_or_begin_anew() -> None:
    torch.manual_seed(0)
    buffer = ReplayBuffer(20, 4, restart=0.0)
    assert buffer.samples.abs().max() <= 1
    places, stand = buffer.draw(6)
    assert torch.equal(stand, buffer.samples[places].float())
    buffer.put(places, torch.ones(6, 3, 4, 4))
    assert (buffer.samples[places] == 1).all()
    always = ReplayBuffer(20, 4, restart=1.0)
    places, stand = always.draw(6)
    assert not torch.equal(stand, always.samples[places].float())
    other = ReplayBuffer(20, 4)
    other.load_state_dict(buffer.state_dict())
    assert torch.equal(other.samples, buffer.samples)
