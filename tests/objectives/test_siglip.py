"""The sigmoid loss: closed forms, positives by id, parity with open_clip."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import SigLipLoss
from torch import Tensor

from counterpoint.objectives import SigLIP
from counterpoint.pairwise import evaluate_with

F64 = torch.float64


def pair(n: int = 9, d: int = 6) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x, y = (F.normalize(torch.randn(n, d, generator=g, dtype=F64), dim=-1) for _ in range(2))
    return x.requires_grad_(), y.requires_grad_()


def softplus(v: float) -> float:
    return math.log1p(math.exp(v))


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("bias", [-10.0, 0.0, 1.5])
def test_orthonormal_matches_divided_by_the_batch(n: int, bias: float) -> None:
    x = torch.eye(n, dtype=F64)
    expected = softplus(-(10 + bias)) + (n - 1) * softplus(bias)
    loss = SigLIP(0.1, bias=bias).double()(x, x)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_the_first_loss_is_small_with_the_default_bias_and_large_without() -> None:
    x = torch.eye(64, dtype=F64)
    assert SigLIP()(x, x).item() < 0.7
    assert SigLIP(bias=0.0)(x, x).item() == pytest.approx(63 * math.log(2) + softplus(-10), rel=1e-6)


@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_parity_with_open_clip(evaluator: str) -> None:
    x, y = pair(16)
    objective = SigLIP(bias=-3.0).double()
    inputs = [x, y, *objective.parameters()]
    theirs = SigLipLoss()(x, y, objective.temperature.inverse(), objective.bias)
    with evaluate_with(evaluator, tile=5):  # type: ignore[arg-type]
        ours = objective(x, y)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), rtol=1e-10, atol=1e-12
    )


def test_distinct_ids_are_the_diagonal() -> None:
    x, y = pair()
    objective = SigLIP().double()
    torch.testing.assert_close(objective(x, y, torch.arange(9)), objective(x, y), rtol=1e-12, atol=0)


def test_a_repeated_caption_is_no_false_negative() -> None:
    x = torch.eye(4, dtype=F64)[[0, 1, 2, 2]]
    objective = SigLIP(0.1, bias=-5.0).double()
    with_ids = objective(x, x, torch.tensor([0, 1, 2, 2]))
    # Twice two of the pairs change from negative to positive: softplus(5) to softplus(-5), over 4.
    assert (objective(x, x) - with_ids).item() == pytest.approx(2 * 5.0 / 4, rel=1e-9)


def test_explain_sees_all_positives_of_an_id() -> None:
    x, y = pair(4)
    explanation = SigLIP(bias=-1.0).double().explain(x, y, torch.tensor([0, 1, 1, 0]))
    (force,) = explanation.forces
    assert [sorted(force.positives(i)) for i in range(4)] == [[0, 3], [1, 2], [1, 2], [0, 3]]


@pytest.mark.parametrize("ids", [torch.arange(3), torch.zeros(9, 1, dtype=torch.long), torch.zeros(9)])
def test_bad_ids_are_refused(ids: Tensor) -> None:
    from inspect import unwrap

    x, y = pair()
    with pytest.raises(ValueError, match=r"ids must be one integer per row, \(9,\)"):
        unwrap(SigLIP.forward)(SigLIP(), x, y, ids)
