"""The focal pairwise loss: parity with torchvision, and what its weights do."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from counterpoint.losses import FocalLoss
from counterpoint.pairwise import evaluate_with
from fixtures.vectors import F64, pair


@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
@pytest.mark.parametrize(("gamma", "alpha"), [(0.0, 0.5), (1.0, 0.5), (2.5, 0.25)])
def test_parity_with_torchvision(evaluator: str, gamma: float, alpha: float) -> None:
    x, y = pair(7, 6)
    objective = FocalLoss(gamma=gamma, alpha=alpha).double()
    inputs = [x, y, *objective.parameters()]
    logits = x @ y.T * objective.temperature.inverse()
    theirs = sigmoid_focal_loss(logits, torch.eye(7, dtype=F64), alpha, gamma, "sum") * 2 / 7
    with evaluate_with(evaluator, tile=3):  # type: ignore[arg-type]
        ours = objective(x, y)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), rtol=1e-8, atol=1e-12
    )


def test_sure_pairs_have_finite_gradients() -> None:
    x = torch.eye(3).requires_grad_()
    loss = FocalLoss(1e-3)(x, torch.eye(3).roll(1, 0))
    (slope,) = torch.autograd.grad(loss, [x])
    assert loss.item() == pytest.approx(1000 + 2 * 0.5 * 0.6931, rel=1e-3)
    assert slope.isfinite().all()
