"""CACR: opposite weights for positives and negatives, limits in t, the debiased variant."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from counterpoint.losses import CACRLoss
from fixtures.vectors import F64, views


def costs(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y).square()


def on_circle(*degrees: float) -> Tensor:
    angle = torch.tensor(degrees, dtype=F64) * math.pi / 180
    return torch.stack([angle.cos(), angle.sin()], 1)


def attraction(z: list[Tensor], t: float) -> float:
    return CACRLoss(beta=0.0, t_positive=t)(*z).item()


def repulsion(x: Tensor, y: Tensor, t: float) -> float:
    return CACRLoss(alpha=0.0, t_negative=t)(x, y).item()


def test_one_negative_repels_by_its_cost_whatever_temperature() -> None:
    x, y = views(2, 2, 4)
    c = costs(x, y)
    for t in (0.0, 0.9, 5.0):
        assert repulsion(x, y, t) == pytest.approx(-(c[0, 1] + c[1, 0]).item() / 2, rel=1e-12)


def test_t_0_weighs_uniformly() -> None:
    x, y, z = views(3, 6, 4)
    off = ~torch.eye(6, dtype=torch.bool)
    pairs = ((x, y), (x, z), (y, z))
    expected = sum(costs(a, b).diagonal().mean() - costs(a, b)[off].mean() for a, b in pairs) / 3
    loss = CACRLoss(t_positive=0.0, t_negative=0.0)(x, y, z)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_large_t_leaves_the_nearest_negative_alone() -> None:
    x, y = views(2, 6, 4)
    nearest = (costs(x, y) + torch.diag(torch.full((6,), math.inf, dtype=F64))).amin(1)
    assert repulsion(x, y, 1e6) == pytest.approx(-nearest.mean().item(), rel=1e-12)


def test_large_t_leaves_the_farthest_positive_alone() -> None:
    z = views(4, 6, 4)
    farthest = torch.stack([torch.stack([(z[v] - u).square().sum(1) for u in z]).amax(0) for v in range(4)])
    assert attraction(z, 1e6) == pytest.approx(farthest.mean().item(), rel=1e-12)


def test_far_positives_get_more_weight_and_close_negatives() -> None:
    z = [on_circle(0.0), on_circle(20.0), on_circle(90.0)]
    uniform = attraction(z, 0.0)
    assert attraction(z, 2.0) > uniform  # more weight on the larger costs
    x = on_circle(0.0, 90.0, 180.0)
    assert repulsion(x, x, 2.0) > repulsion(x, x, 0.0)  # more weight on the smaller costs


def test_negatives_are_of_the_other_view_only() -> None:
    # The two x are as close as they can be, and the loss does not see it.
    x, y = on_circle(0.0, 0.0), on_circle(90.0, -90.0)
    assert repulsion(x, y, 3.0) == pytest.approx(-2.0, rel=1e-12)
    assert repulsion(x, x, 3.0) == pytest.approx(0.0, abs=1e-12)


def test_is_bounded_on_the_sphere_and_may_be_negative() -> None:
    x = on_circle(0.0, 180.0)
    assert CACRLoss()(x, x).item() == pytest.approx(-4.0, rel=1e-12)
    assert CACRLoss()(x, -x).item() == pytest.approx(4.0, rel=1e-12)


def test_a_batch_of_one_is_attracted_alone() -> None:
    x, y, z = views(3, 1, 4)
    for prior in (0.0, 0.1):
        loss = CACRLoss(prior=prior)(x, y, z)
        assert loss.item() == pytest.approx(attraction([x, y, z], 1.0), rel=1e-12)


def test_a_prior_takes_the_positives_share_out_of_the_negatives() -> None:
    # A quarter of what is drawn as a negative is the positive itself: what is left are the true negatives.
    x, y = views(2, 2, 4)
    positive, negative = costs(x, y).diagonal(), costs(x, y).fliplr().diagonal()
    true = (negative - 0.25 * positive) / 0.75
    torch.testing.assert_close(0.75 * true + 0.25 * positive, negative, rtol=1e-12, atol=0)
    loss = CACRLoss(alpha=0.0, prior=0.25)(x, y)
    assert loss.item() == pytest.approx(-true.mean().item(), rel=1e-12)


def test_a_prior_pulls_the_positive_closer() -> None:
    x, y = (v.requires_grad_() for v in views(2, 6, 4))
    plain, debiased = (
        CACRLoss(alpha=0.0, prior=prior).explain(x, y).forces[0].pull.diagonal() for prior in (0.0, 0.1)
    )
    assert (plain == 0).all()
    assert (debiased > 0).all()


def test_detached_weights_change_the_gradient_and_not_the_value() -> None:
    z = [v.requires_grad_() for v in views(2, 6, 4)]
    x, y = z
    detached = CACRLoss(detach_weights=True)(x, y)
    torch.testing.assert_close(detached, CACRLoss()(x, y), rtol=1e-12, atol=0)
    c = costs(x, y)
    weights = (-2.0 * c).masked_fill(torch.eye(6, dtype=torch.bool), -math.inf).softmax(1).detach()
    by_hand = c.diagonal().mean() - (weights * c).sum(1).mean()
    ours, theirs = (torch.autograd.grad(loss, z, retain_graph=True) for loss in (detached, by_hand))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(ours[0], torch.autograd.grad(CACRLoss()(x, y), z)[0])


def test_one_view_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an example needs at least 2 views, got 1"):
        CACRLoss()(torch.eye(3))
