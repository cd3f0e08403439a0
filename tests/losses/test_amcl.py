"""AMCL: temperatures per pair, the regulariser's signs, limits that are known losses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from counterpoint.losses import AMCLLoss
from counterpoint.pairwise import evaluate_with
from fixtures.vectors import F64, views


def build(tau: float | None = None, **options: Any) -> AMCLLoss:
    """The loss at width 4 in float64; with τ, a φ of 0 and so τ for every pair."""
    if tau is not None:
        options |= {"tau_min": tau / 2, "tau_max": 3 * tau / 2}
    torch.manual_seed(0)
    objective = AMCLLoss(4, hidden=6, **options).double()
    if tau is not None:
        for parameter in objective.phi.parameters():
            nn.init.zeros_(parameter)
    return objective


def test_heads_are_summed_under_one_network_of_temperatures() -> None:
    objective, (a, b, c, d) = build(beta=0.02), views(4, 5, 4)
    both = objective([a, b], [c, d])
    torch.testing.assert_close(both, objective([a], [c]) + objective([b], [d]), rtol=1e-12, atol=0)
    assert sum(p.numel() for p in objective.parameters()) == 2 * 4 * 6 + 6 + 4


def test_larger_score_gives_lower_temperature_within_its_bounds() -> None:
    objective = build(tau_min=0.05, tau_max=2.0)
    tau = objective.adapted(torch.tensor([-50.0, -1.0, 0.0, 1.0, 50.0], dtype=F64))
    assert (tau.diff() < 0).all()
    torch.testing.assert_close(tau[[0, 2, 4]], torch.tensor([2.0, 1.025, 0.05], dtype=F64))


def test_the_normaliser_is_least_at_two_over_the_width() -> None:
    objective = build()
    assert objective.normaliser(torch.tensor(1.0)).item() == 1.0
    tau = torch.tensor(2 / 4, dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(objective.normaliser(tau), tau)
    assert slope.item() == pytest.approx(0.0, abs=1e-12)


def test_regulariser_rewards_of_negatives_charges_of_positives() -> None:
    # φ = identity on a plane, by a ReLU of both signs: the score of a pair is its cosine.
    objective = AMCLLoss(2, hidden=4, beta=0.1, tau_min=0.2).double()
    first, _, second = objective.phi
    signs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], dtype=F64)
    with torch.no_grad():
        first.weight.copy_(signs)
        second.weight.copy_(signs.T)
        first.bias.zero_()
        second.bias.zero_()
    x = torch.eye(2, dtype=F64)

    def tau(score: float) -> float:
        return 0.2 + 1.8 / (1 + math.exp(score))

    def omega(t: float) -> float:
        return math.log(t) + 1 / t

    # The positive at cosine 1, two negatives at 0.
    expected = -1 / tau(1) + 0.1 * omega(tau(1)) + math.log(2) - 0.1 * omega(tau(0))
    assert objective([x], [x]).item() == pytest.approx(expected, rel=1e-12)
    # The code's form: a mean of scores, a sum of normalisers without the factor of half the width (here 1).
    objective.top_k = 100
    expected = -1 / tau(1) + 0.1 * omega(tau(1)) + 0.0 - 0.1 * 2 * omega(tau(0))
    assert objective([x], [x]).item() == pytest.approx(expected, rel=1e-12)


def test_top_k_takes_the_negatives_of_largest_cosine() -> None:
    x, y = views(2, 5, 4)
    z = torch.cat([x, y])
    item = torch.arange(5).repeat(2)
    s = (z @ z.T).masked_fill(item[:, None] == item[None], -math.inf)
    positive = (z * z.roll(5, 0)).sum(1)
    expected = (s.topk(2, 1).values.mean(1) - positive).mean() / 0.4
    loss = build(0.4, beta=0.0, top_k=2)([x], [y])
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_top_k_of_few_negatives_takes_them_all() -> None:
    x, y = views(2, 3, 4)
    many, all_four = (build(beta=0.02, top_k=k)([x], [y]) for k in (100, 4))
    torch.testing.assert_close(many, all_four, rtol=0, atol=0)


def test_gradients_reach_network_of_temperatures_pass_through() -> None:
    # The views are constants to the scores, so that what reaches them comes by way of the temperatures.
    objective, (x, y) = build(beta=0.0), views(2, 5, 4)
    loss = objective([x], [y])
    grads = torch.autograd.grad(loss, list(objective.parameters()))
    assert all(g.abs().sum() > 0 for g in grads)


@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
@pytest.mark.parametrize("top_k", [None, 3])
def test_a_batch_of_one_is_the_positive_alone(evaluator: Any, top_k: int | None) -> None:
    x, y = views(2, 1, 4)
    with evaluate_with(evaluator):
        loss = build(0.4, beta=0.1, top_k=top_k)([x], [y])
    expected = -(x @ y.T).item() / 0.4 + 0.1 * (2 * math.log(0.4) + 1 / 0.4)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("top_k", [None, 3])
def test_the_lowest_temperature_bounds_the_loss_from_below(top_k: int | None) -> None:
    # Scores of −∞ and ∞ by hand: whatever φ says, τ stays in its bounds, and with it every term.
    x, y = views(2, 5, 4)
    objective = build(beta=0.02, tau_min=0.05, top_k=top_k)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.mul_(1e6)
    loss = objective([x], [y]).item()
    assert math.isfinite(loss)
    largest = max(abs(2 * math.log(t) + 1 / t) for t in (0.05, 0.5, 2.0))
    assert loss > -2 / 0.05 - 0.02 * (1 + (top_k or 1)) * largest


def test_bad_heads_are_refused() -> None:
    objective, (x, y) = build(), views(2, 5, 4)
    with pytest.raises(ValueError, match="both views need the same heads, at least one, got 2 and 1"):
        objective([x, x], [y])
    with pytest.raises(ValueError, match="at least one, got 0 and 0"):
        objective([], [])
    with pytest.raises(ValueError, match="the heads must be of width=4, got 3"):
        objective([x[:, :3]], [y[:, :3]])
