"""SupCon: classes as positives, the mean inside or outside the logarithm, examples without a class."""

from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import SupConLoss
from counterpoint.pairwise import evaluate_with
from fixtures.vectors import F64, views

LABELS = torch.tensor([0, 1, 0, 2, 1, 0])


def with_mask(z: Tensor, positive: Tensor, tau: float) -> Tensor:
    """The masked matrix form: the mean log-likelihood of an anchor's positives, over anchors that have any."""
    itself = torch.eye(len(z), dtype=torch.bool)
    log_p = (z @ z.T / tau).masked_fill(itself, -math.inf).log_softmax(1)
    positive = positive & ~itself
    own = torch.where(positive, log_p, 0.0).sum(1) / positive.sum(1).clamp_min(1)
    return -own[positive.any(1)].mean()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_is_the_masked_matrix_form(count: int) -> None:
    z = views(count, 6, 4)
    group = LABELS.repeat(count)
    expected = with_mask(torch.cat(z), group[:, None] == group[None], 0.2)
    torch.testing.assert_close(SupConLoss(0.2)(*z, labels=LABELS), expected, rtol=1e-12, atol=0)


def test_collapse_costs_log_others_on_either_side_of_logarithm() -> None:
    x = F.normalize(torch.ones(6, 3, dtype=F64), dim=-1)
    for inside in (False, True):
        loss = SupConLoss(inside=inside)(x, x, labels=LABELS)
        assert loss.item() == pytest.approx(math.log(11), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_inside_below_outside_where_anchor_has_several_positives(seed: int) -> None:
    z = views(2, 6, 4, seed=seed)
    outside, inside = (SupConLoss(inside=inside)(*z, labels=LABELS).item() for inside in (False, True))
    assert inside < outside


def test_the_only_one_of_its_class_is_left_out_of_the_mean() -> None:
    (z,) = views(1, 6, 4)
    with_single = SupConLoss(0.2)(z, labels=LABELS)  # class 2 occurs once
    group = LABELS[:, None] == LABELS[None]
    torch.testing.assert_close(with_single, with_mask(z, group, 0.2), rtol=1e-12, atol=0)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_no_positives_at_all_give_0_without_a_gradient(inside: bool, evaluator: str) -> None:
    z = views(1, 6, 4)[0].requires_grad_()
    with evaluate_with(evaluator, tile=4):  # type: ignore[arg-type]
        loss = SupConLoss(inside=inside)(z, labels=torch.arange(6))
        (grad,) = torch.autograd.grad(loss, [z])
    assert loss.item() == 0.0
    assert (grad == 0).all()


def test_first_anchors_see_all_views_and_are_first_view_alone() -> None:
    z = views(3, 6, 4)
    stacked = torch.cat(z)
    log_p = (stacked @ stacked.T / 0.2).fill_diagonal_(-math.inf).log_softmax(1)[:6]
    group = LABELS.repeat(3)
    positive = (LABELS[:, None] == group[None]) & ~torch.eye(18, dtype=torch.bool)[:6]
    expected = -(torch.where(positive, log_p, 0.0).sum(1) / positive.sum(1)).mean()
    loss = SupConLoss(0.2, anchors="first")(*z, labels=LABELS)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_explain_finds_the_class_in_both_views() -> None:
    z = [v.requires_grad_() for v in views(2, 4, 4)]
    (force,) = SupConLoss(1.0).explain(*z, labels=torch.tensor([0, 1, 0, -1])).forces
    assert set(force.negatives(0)) == {1, 3, 5, 7}
    assert set(force.positives(3)) == {7}
    assert force.positives(1) == [5]
    assert not force.pull.diagonal().any()


@pytest.mark.parametrize("degrees", [0.0, 1.0, 30.0, 90.0])
def test_a_positive_pulls_by_its_angle_and_an_easy_one_hardly(degrees: float) -> None:
    # Negatives at right angles to both, so that in the plane of the positives only they pull each other.
    theta = math.radians(degrees)
    raw = torch.tensor([[1.0, 0.0, 0.0], [math.cos(theta), math.sin(theta), 0.0]], dtype=F64).requires_grad_()
    poles = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], dtype=F64)
    loss = SupConLoss(0.5)(torch.cat([F.normalize(raw, dim=-1), poles]), labels=torch.tensor([0, 0, 1, 1]))
    (grad,) = torch.autograd.grad(loss, raw)
    p = math.exp(math.cos(theta) / 0.5)
    missing = 1 - p / (p + 2)
    # Anchors 1 and 2 of 4 each say (1 − p) sin θ / τ.
    assert float(grad[0, :2].norm()) == pytest.approx(2 / 4 * missing * math.sin(theta) / 0.5, abs=1e-12)


@pytest.mark.parametrize("labels", [torch.arange(5), torch.zeros(6, 1, dtype=torch.long), torch.zeros(6)])
def test_bad_labels_are_refused(labels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"labels must be one integer per row, \(6,\)"):
        unwrap(SupConLoss.forward)(SupConLoss(), *views(2, 6, 4), labels=labels)


def test_one_view_needs_labels_and_no_view_is_none() -> None:
    with pytest.raises(ValueError, match=r"an example needs at least 2 views, got 1"):
        SupConLoss()(*views(1, 6, 4))
    with pytest.raises(ValueError, match=r"an example needs at least 1 view, got 0"):
        SupConLoss()(labels=LABELS)


@pytest.mark.parametrize("count", [1, 4])
def test_equals_the_loss_of_pytorch_metric_learning(count: int) -> None:
    metric_losses = pytest.importorskip("pytorch_metric_learning.losses")
    z = [view.requires_grad_() for view in views(count, 6, 4)]
    # The other one puts what it is given on the sphere, so that gradients there are compared.
    ours = SupConLoss(0.05)(*(F.normalize(view, dim=1) for view in z), labels=LABELS)
    theirs = metric_losses.SupConLoss(temperature=0.05)(torch.cat(z), LABELS.repeat(count))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=0)
    for a, b in zip(*(torch.autograd.grad(loss, z) for loss in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
