"""SBCL's loss: the fine and the coarse term, what returns to the coarse one, and what it is without subclasses."""

from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
from torch import Tensor

from counterpoint.losses import SBCLLoss, SupConLoss
from fixtures.vectors import views

CLASSES = torch.tensor([0, 0, 0, 0, 1, 1])
SUBCLASSES = torch.tensor([0, 0, 1, 1, 2, 2])


def masked(z: Tensor, among: Tensor, positive: Tensor, tau: Tensor) -> Tensor:
    """The mean log-likelihood of positives among others, by masks of the whole matrix."""
    log_p = (z @ z.T / tau[:, None]).masked_fill(~among, -math.inf).log_softmax(1)
    return -(torch.where(positive, log_p, 0.0).sum(1) / positive.sum(1)).mean()


def test_is_the_sum_of_both_masked_matrix_forms() -> None:
    x, y = views(2, 6, 4)
    z, item = torch.cat([x, y]), torch.arange(6).repeat(2)
    classes, subclasses = CLASSES.repeat(2), SUBCLASSES.repeat(2)
    itself = torch.eye(12, dtype=torch.bool)
    fine = (subclasses[:, None] == subclasses) & ~itself
    other = (item[:, None] == item) & ~itself
    kept = ~(fine | itself) | other
    coarse = kept & (classes[:, None] == classes)
    warm = torch.tensor([0.3, 0.5], dtype=z.dtype)[CLASSES]
    expected = masked(z, ~itself, fine, torch.full_like(z[:, 0], 0.2)) + 0.4 * masked(
        z, kept, coarse, warm.repeat(2)
    )
    loss = SBCLLoss(0.2, beta=0.4)(x, y, labels=CLASSES, subclasses=SUBCLASSES, temperatures=warm)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_other_view_returns_coarse_term_where_class_one_subclass() -> None:
    x, y = views(2, 6, 4)
    coarse = SBCLLoss(0.2, beta=1.0)(x, y, labels=CLASSES, subclasses=CLASSES) - SupConLoss(0.2)(
        x, y, labels=CLASSES
    )
    # The only positive is the other view, against it and the other class.
    z, classes = torch.cat([x, y]), CLASSES.repeat(2)
    expected = []
    for a in range(12):
        own = (a + 6) % 12
        among = [b for b in range(12) if classes[b] != classes[a] or b == own]
        expected.append((z[among] @ z[a] / 0.2).logsumexp(0) - z[own] @ z[a] / 0.2)
    torch.testing.assert_close(coarse, torch.stack(expected).mean(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("labels", [CLASSES, torch.tensor([0, -1, 0, 1, -1, 1])])
def test_without_subclasses_it_is_supcon(labels: Tensor) -> None:
    z = views(2, 6, 4)
    expected = SupConLoss(0.2)(*z, labels=labels)
    torch.testing.assert_close(SBCLLoss(0.2)(*z, labels=labels), expected, rtol=1e-12, atol=0)


def test_examples_without_a_subclass_are_ones_of_their_own() -> None:
    z = views(2, 6, 4)
    none = torch.tensor([0, 0, 1, 1, -1, -1])
    loss = SBCLLoss(0.2)(*z, labels=CLASSES, subclasses=none)
    torch.testing.assert_close(
        loss, SBCLLoss(0.2)(*z, labels=CLASSES, subclasses=torch.tensor([0, 0, 1, 1, 7, 8]))
    )


def test_one_view_leaves_out_anchors_without_positives() -> None:
    (z,) = views(1, 6, 4)
    apart = torch.arange(6)
    loss = SBCLLoss(0.2)(z.requires_grad_(), labels=apart, subclasses=apart)
    loss.backward()
    assert loss.item() == 0.0
    assert (z.grad == 0).all()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"labels": CLASSES[:5]}, "labels must be one integer"),
        ({"subclasses": SUBCLASSES.float()}, "subclasses must be one integer"),
        ({"temperatures": torch.ones(3)}, "temperatures must be one number"),
    ],
)
def test_what_is_not_one_a_row_is_refused(given: dict[str, Tensor], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unwrap(SBCLLoss.forward)(
            SBCLLoss(), *views(2, 6, 4), **{"labels": CLASSES, "subclasses": SUBCLASSES, **given}
        )
