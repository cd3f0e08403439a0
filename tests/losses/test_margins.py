"""NT-Xent with margins: closed forms, both kinds, both forms, and none."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from counterpoint.losses import MarginNTXentLoss
from fixtures.vectors import F64, pair


@pytest.mark.parametrize("tau", [1.0, 0.1])
@pytest.mark.parametrize("margin", [0.1, 0.5])
def test_the_margin_acts_before_the_temperature(tau: float, margin: float) -> None:
    x = torch.eye(4, dtype=F64)
    two_sided = math.log(1 + 6 * math.exp(-(1 - margin) / tau))
    one_sided = math.log(1 + 3 * math.exp(-(1 - margin) / tau))
    assert MarginNTXentLoss(tau, margin=margin)(x, x).item() == pytest.approx(two_sided, rel=1e-12)
    assert MarginNTXentLoss(tau, margin=margin, two_sided=False)(x, x).item() == pytest.approx(
        one_sided, rel=1e-12
    )


def test_angular_margin_turns_positive_until_it_would_pass_pi() -> None:
    objective = MarginNTXentLoss(kind="angular", margin=0.3)
    angles = torch.linspace(0.01, math.pi - 0.01, 200, dtype=F64)
    within = angles + 0.3 < math.pi
    expected = torch.where(within, (angles + 0.3).cos(), angles.cos() - 0.3 * math.sin(math.pi - 0.3))
    torch.testing.assert_close(objective.with_margin(angles.cos()), expected, rtol=1e-10, atol=1e-12)
    assert 0 < int((~within).sum()) < 200


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_perfect_match_has_finite_gradient_under_angular_margin(dtype: torch.dtype) -> None:
    cosine = torch.tensor([1.0, 1.0 + 1e-6, -1.0 - 1e-6], dtype=dtype).requires_grad_()
    turned = MarginNTXentLoss(kind="angular", margin=0.2).with_margin(cosine)
    (gradient,) = torch.autograd.grad(turned.sum(), cosine)
    assert turned[0].item() == pytest.approx(math.cos(0.2), abs=1e-3)
    assert turned.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("kind", ["additive", "angular"])
def test_margin_makes_loss_harder_and_leaves_negatives_as_they(kind: Any) -> None:
    x, y = pair(6, 5)
    z = torch.cat([x, y]).detach()
    losses = []
    for margin in (0.0, 0.1, 0.3):
        objective = MarginNTXentLoss(0.2, kind=kind, margin=margin)
        losses.append(objective(x, y).item())
        (force,) = objective.explain(x, y).forces
        logits = (z @ z.T / 0.2).fill_diagonal_(-math.inf)
        anchors, partners = torch.arange(12), (torch.arange(12) + 6) % 12
        logits[anchors, partners] = objective.with_margin((z @ z.T)[anchors, partners]) / 0.2
        negatives = logits.softmax(1)
        negatives[anchors, partners] = 0
        pushed = force.pull.clone()
        pushed[anchors, partners] = 0
        torch.testing.assert_close(pushed, -negatives, rtol=1e-10, atol=1e-12)
    assert losses == sorted(set(losses))


@pytest.mark.parametrize(("two_sided", "negatives"), [(True, 10), (False, 5)])
def test_no_view_is_contrasted_with_itself(two_sided: bool, negatives: int) -> None:
    x, y = pair(6, 5)
    (force,) = MarginNTXentLoss(0.2, two_sided=two_sided).explain(x, y).forces
    assert all(len(force.negatives(a)) == negatives for a in range(len(force.pull)))
    assert all(len(force.positives(a)) == 1 for a in range(len(force.pull)))
    if two_sided:
        assert not force.pull.diagonal().any()


@pytest.mark.parametrize("two_sided", [True, False])
def test_a_batch_of_one_costs_nothing_and_pulls_nowhere(two_sided: bool) -> None:
    x, y = pair(1, 5)
    loss = MarginNTXentLoss(two_sided=two_sided)(x, y)
    assert loss.item() == 0
    assert not any(g.any() for g in torch.autograd.grad(loss, [x, y]))
