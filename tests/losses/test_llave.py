"""Hardness-weighted InfoNCE: what is weighted, what is not, and on which scale."""

from __future__ import annotations

import math

import pytest
import torch

from counterpoint.losses import LLaVELoss
from fixtures.vectors import F64, pair


def test_probabilities_those_sharper_negatives_gradients_plain() -> None:
    x, y = pair(7, 5)
    s = (x @ y.T).detach()
    sharper = 10 * s + 9 * s.clone().fill_diagonal_(0)
    forth, back = sharper.softmax(1), sharper.softmax(0)
    objective = LLaVELoss(0.1, alpha=9.0)
    expected = -(forth.diagonal().log() + back.diagonal().log()).mean() / 2
    torch.testing.assert_close(objective(x, y).detach(), expected, rtol=1e-12, atol=0)
    (force,) = objective.explain(x, y).forces  # on logits of scale 10
    pull = torch.eye(7, dtype=F64) - (forth + back) / 2
    torch.testing.assert_close(force.pull, pull, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 3.0, 9.0])
def test_the_positive_has_weight_one(alpha: float) -> None:
    # Negatives at cosine 0 weigh e^0: all that α could change here is the positive.
    x = torch.eye(6, dtype=F64)
    expected = math.log(1 + 5 * math.exp(-1 / 0.2))
    assert LLaVELoss(0.2, alpha=alpha)(x, x).item() == pytest.approx(expected, rel=1e-12)


def test_hardness_is_on_the_scale_of_cosines() -> None:
    x = torch.eye(2, dtype=F64)
    y = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=F64)
    a, alpha = 5.0, 2.0
    # x1 sees its positive at 1 and a negative at 0.6, x2 at 0.8 and 0; y1 at 1 and 0, y2 at 0.8 and 0.6.
    gaps = [(a + alpha) * 0.6 - a, -a * 0.8, -a, (a + alpha) * 0.6 - a * 0.8]
    expected = sum(math.log1p(math.exp(gap)) for gap in gaps) / 4
    assert LLaVELoss(1 / a, alpha=alpha)(x, y).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 9.0])
def test_a_duplicate_is_a_negative_of_the_greatest_weight(alpha: float) -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=F64)
    assert LLaVELoss(0.02, alpha=alpha)(x, x).item() == pytest.approx(math.log1p(math.exp(alpha)), rel=1e-9)


def test_the_default_is_the_reference_setting() -> None:
    objective = LLaVELoss()
    assert objective.temperature.inverse().item() == pytest.approx(50.0)
    assert objective.alpha == 9.0
    assert not list(objective.parameters())


def test_a_batch_of_one_costs_nothing() -> None:
    assert LLaVELoss()(*pair(1, 5)).item() == pytest.approx(0.0, abs=1e-12)
