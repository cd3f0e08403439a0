"""Hydra's loss: who is positive, who negative and who neither, and gates that are shut."""

from __future__ import annotations

import math
from inspect import unwrap
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import HydraLoss

LABELS = torch.tensor([0, 0, 1, 1, 2, 3, -1])
TARGETS = torch.tensor([1, -1, -1, -1, -1, -1, -1])


def views() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return tuple(F.normalize(torch.randn(7, 5, generator=g, dtype=torch.float64), dim=-1) for _ in range(2))  # type: ignore[return-value]


def test_what_is_of_the_anchors_own_class_or_of_none_has_no_say() -> None:
    x, y = views()
    y.requires_grad_()
    HydraLoss(0.2)(x, y, labels=LABELS, targets=TARGETS).backward()
    assert (y.grad[[0, 1, 6]] == 0).all()  # the anchor's class is 0, that of its targets 1
    assert (y.grad[2:6].norm(dim=1) > 1e-3).all()


def test_its_own_class_is_found_where_that_is_the_target() -> None:
    x, y = views()
    own = HydraLoss(0.2)(x, y, labels=LABELS)
    torch.testing.assert_close(own, HydraLoss(0.2)(x, y, labels=LABELS, targets=LABELS))
    terms = []
    for i in range(6):
        s = [math.exp(float(x[i] @ y[j]) / 0.2) for j in range(6)]
        negatives = sum(s[j] for j in range(6) if LABELS[j] != LABELS[i])
        terms += [math.log(1 + negatives / s[j]) for j in range(6) if LABELS[j] == LABELS[i]]
    assert own.item() == pytest.approx(sum(terms) / 10)


@pytest.mark.parametrize("renormalised", [False, True])
def test_shut_gates_leave_chance(renormalised: bool) -> None:
    x, y = (view.requires_grad_() for view in views())
    loss = HydraLoss(0.2, renormalised=renormalised)
    value = loss(x, y, labels=LABELS, targets=TARGETS, gates=torch.zeros_like(x))
    value.backward()
    assert value.item() == pytest.approx(math.log(1 + 2))  # classes 2 and 3 are the negatives
    assert x.grad.isfinite().all()
    assert y.grad.isfinite().all()


def test_dimensions_that_are_shut_have_no_say() -> None:
    x, y = views()
    gates = torch.ones_like(x)
    gates[:, 3:] = 0
    loss = HydraLoss(0.2)(x, y, labels=LABELS, targets=TARGETS, gates=gates)
    torch.testing.assert_close(loss, HydraLoss(0.2)(x[:, :3], y[:, :3], labels=LABELS, targets=TARGETS))
    cosines = HydraLoss(0.2, renormalised=True)(x, y, labels=LABELS, targets=TARGETS, gates=gates)
    of_rest = (F.normalize(view[:, :3], dim=-1) for view in (x, y))
    torch.testing.assert_close(cosines, HydraLoss(0.2)(*of_rest, labels=LABELS, targets=TARGETS))


@pytest.mark.parametrize("labels", [torch.zeros(7, dtype=torch.long), torch.full((7,), -1)])
def test_without_negatives_or_classes_it_is_zero(labels: Tensor) -> None:
    x, y = (view.requires_grad_() for view in views())
    loss = HydraLoss(0.2)(x, y, labels=labels)
    loss.backward()
    assert loss.item() == 0.0
    assert (x.grad == 0).all()
    assert (y.grad == 0).all()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"labels": LABELS[:5]}, "labels must be one integer"),
        ({"targets": TARGETS.double()}, "targets must be one integer"),
        ({"gates": torch.ones(7)}, "gates must be one number per row and dimension"),
    ],
)
def test_what_is_not_one_a_row_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unwrap(HydraLoss.forward)(HydraLoss(), *views(), **{"labels": LABELS, **given})
