"""Losses of episodes: prototypes, the margin between them, and the score of nearest neighbours."""

from __future__ import annotations

import math
from inspect import unwrap
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoint.losses import ICNNLoss, ProtoTripletLoss

CLASSES = torch.arange(3).repeat_interleave(8)


def clusters(apart: float, labels: Tensor = CLASSES) -> Tensor:
    """Three classes around the corners of a triangle."""
    g = torch.Generator().manual_seed(0)
    return apart * torch.eye(3, dtype=torch.float64)[CLASSES] + torch.randn(
        24, 3, generator=g, dtype=torch.float64
    )


def score(*given: Tensor, labels: Tensor, **options: Any) -> float:
    return math.exp(-ICNNLoss(**options)(*given, labels=labels).item())


def test_the_score_tells_clusters_from_chance() -> None:
    chance = CLASSES[torch.randperm(24, generator=torch.Generator().manual_seed(1))]
    assert score(clusters(1000.0), labels=CLASSES, pool=8) > 0.99
    assert 0.25 < score(clusters(0.0), labels=chance, pool=8) < 0.5
    rising = [score(clusters(apart), labels=CLASSES, pool=8) for apart in (0.0, 2.0, 4.0, 8.0, 100.0)]
    assert rising == sorted(rising)


def test_of_a_bank_the_nearest_counts() -> None:
    z = torch.tensor([[0.0], [10.0]], dtype=torch.float64)
    bank = torch.tensor([[1.0], [4.0], [8.0], [90.0]], dtype=torch.float64)
    classes = torch.tensor([0, 1, 1, 2])
    # From 0: 1 (own), 4, 8. From 10: 2 (own), 6 (own), 9. Of two each, others at 4; the pool has the third.
    same = 1 - ((1 / 4) / 1 + (2 / 9 + 6 / 9) / 2) / 2
    expected = ((same + 4 / 4) / 2 + 3 / 4) / 2
    given = score(z, bank, classes, labels=torch.tensor([0, 1]), neighbours=2)
    assert given == pytest.approx(expected, abs=1e-6)


def test_of_one_set_point_is_not_neighbour_even_among_its_equals() -> None:
    z = torch.zeros(6, 2, dtype=torch.float64)
    z[3:] = 50.0
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert score(z, labels=labels, neighbours=2, pool=4) == pytest.approx(1.0, abs=1e-4)
    z.requires_grad_()
    ICNNLoss(2, pool=4)(z, labels=labels).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_supports_of_one_shot_are_only_spread() -> None:
    z = torch.tensor([[0.0], [1.0], [3.0], [7.0]], dtype=torch.float64, requires_grad=True)
    loss = ICNNLoss(neighbours=1)(z, labels=torch.arange(4))
    other = (1 + 1 + 2 + 4) / 4 / 4  # nearest distances, relative to the largest of them
    assert loss.item() == pytest.approx(-math.log(((1 + other) / 2 + 0) / 2), abs=1e-5)
    loss.backward()
    assert z.grad is not None
    assert z.grad[1] < 0 < z.grad[0]  # a step moves the nearest two apart


def test_one_class_alone_is_wholly_together_and_apart() -> None:
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    assert score(z, labels=torch.zeros(8, dtype=torch.long)) == pytest.approx(1.0)


def test_detached_normalisers_change_the_gradient_alone() -> None:
    gradients, values = [], []
    for detached in (False, True):
        z = clusters(2.0).requires_grad_()
        loss = ICNNLoss(detached=detached)(z, labels=CLASSES)
        loss.backward()
        values.append(loss.item())
        gradients.append(z.grad)
    assert values[0] == values[1]
    assert not torch.allclose(*gradients)


def test_points_without_a_class_are_of_none() -> None:
    z, none = clusters(4.0), CLASSES.clone()
    none[:2] = -1
    apart = torch.where(none < 0, 7 + torch.arange(24), none)
    assert score(z, labels=none) == score(z, labels=apart)


def test_vectors_of_a_bank_without_a_class_are_of_none() -> None:
    z, bank, labels = clusters(1.0)[:3], clusters(1.0)[3:9], torch.tensor([-1, 0, -1])
    without, others = torch.tensor([0, -1, -1, -1, -1, -1]), torch.tensor([0, 3, 3, 3, 3, 3])
    assert score(z, bank, without, labels=labels) == score(z, bank, others, labels=labels)


@pytest.mark.parametrize("others", ["nearest", "all"])
def test_a_lone_prototype_has_no_margin(others: Any) -> None:
    z = torch.randn(4, 3, requires_grad=True)
    loss = ProtoTripletLoss(others=others)(z, torch.ones(1, 3), labels=torch.zeros(4, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0.0
    assert z.grad is not None
    assert (z.grad == 0).all()


def test_all_others_are_on_average_one_drawn_at_random() -> None:
    g = torch.Generator().manual_seed(0)
    z, bank = (torch.randn(n, 3, generator=g, dtype=torch.float64) for n in (200, 5))
    labels = torch.randint(5, (200,), generator=g)
    d = ((z[:, None] - bank).square().sum(-1) + 1e-6).sqrt()
    drawn = [
        (d[i, y] - d[i, c] + 0.5).relu().item() for i, y in enumerate(labels) for c in range(5) if c != y
    ]
    loss = ProtoTripletLoss(others="all")(z, bank, labels=labels)
    assert loss.item() == pytest.approx(sum(drawn) / len(drawn))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((torch.ones(4, 2),), "z has 3 dimensions but bank 2"),
        ((torch.ones(4, 3),), "bank has no labels"),
        ((torch.ones(4, 3), torch.arange(3)), "labels must be one integer per row"),
    ],
)
def test_a_bank_that_does_not_fit_is_refused(given: tuple[Tensor, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unwrap(ICNNLoss.forward)(ICNNLoss(), torch.ones(5, 3), *given, labels=torch.arange(5))
