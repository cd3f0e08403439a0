"""The sigmoid loss: closed forms, positives by id, parity with open_clip."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import SigLipLoss
from torch import Tensor

from counterpoint.losses import SigLIPLoss
from counterpoint.pairwise import evaluate_with
from fixtures.vectors import F64, pair


def softplus(v: float) -> float:
    return math.log1p(math.exp(v))


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("bias", [-10.0, 0.0, 1.5])
def test_orthonormal_matches_divided_by_the_batch(n: int, bias: float) -> None:
    x = torch.eye(n, dtype=F64)
    expected = softplus(-(10 + bias)) + (n - 1) * softplus(bias)
    loss = SigLIPLoss(0.1, bias=bias).double()(x, x)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_first_loss_is_small_with_default_bias_and_large_without() -> None:
    x = torch.eye(64, dtype=F64)
    assert SigLIPLoss()(x, x).item() < 0.7
    assert SigLIPLoss(bias=0.0)(x, x).item() == pytest.approx(63 * math.log(2) + softplus(-10), rel=1e-6)


def gradient_of_bias(x: Tensor, y: Tensor, temperature: float, bias: float) -> float:
    objective = SigLIPLoss(temperature, bias=bias).double()
    (slope,) = torch.autograd.grad(objective(x, y), [objective.bias])
    return slope.item()


@pytest.mark.parametrize("size", [2, 3, 16, 128])
@pytest.mark.parametrize("similarity", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_gradient_balanced_bias_vanishes_where_equally_similar(
    size: int, similarity: float, temperature: float
) -> None:
    x = F.normalize(torch.tensor([[1.0, 0.0]], dtype=F64), dim=-1).expand(size, 2)
    y = torch.tensor([[similarity, math.sqrt(1 - similarity**2)]], dtype=F64).expand(size, 2)
    balanced = SigLIPLoss.balanced_bias(size) - similarity / temperature
    # The parts of it that cancel are near 1; b was rounded to single precision.
    assert gradient_of_bias(x, y, temperature, balanced) == pytest.approx(0, abs=1e-6)
    assert gradient_of_bias(x, y, temperature, balanced - 1) < -0.1
    assert gradient_of_bias(x, y, temperature, balanced + 1) > 0.1


def test_balanced_bias_expects_many_positives_there_before() -> None:
    n, d, temperature = 64, 256, 1.0
    x, y = pair(n, d)
    # E exp(s/τ) of random unit vectors is 1 + 1/(2 d τ²): 0.2 % here, and the sample's own scatter as much again.
    assert gradient_of_bias(x, y, temperature, SigLIPLoss.balanced_bias(n)) == pytest.approx(0, abs=0.01)
    assert gradient_of_bias(x, y, temperature, -10.0) == pytest.approx(-1, abs=0.01)


def test_one_pair_has_nothing_to_be_balanced_against() -> None:
    assert SigLIPLoss.balanced_bias(1) == SigLIPLoss.balanced_bias(2) == 0.0


@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_parity_with_open_clip(evaluator: str) -> None:
    x, y = pair(16, 6)
    objective = SigLIPLoss(bias=-3.0).double()
    inputs = [x, y, *objective.parameters()]
    theirs = SigLipLoss()(x, y, objective.temperature.inverse(), objective.bias)
    with evaluate_with(evaluator, tile=5):  # type: ignore[arg-type]
        ours = objective(x, y)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), rtol=1e-10, atol=1e-12
    )


def test_a_repeated_caption_is_no_false_negative() -> None:
    x = torch.eye(4, dtype=F64)[[0, 1, 2, 2]]
    objective = SigLIPLoss(0.1, bias=-5.0).double()
    with_ids = objective(x, x, torch.tensor([0, 1, 2, 2]))
    # Twice two of the pairs change from negative to positive: softplus(5) to softplus(-5), over 4.
    assert (objective(x, x) - with_ids).item() == pytest.approx(2 * 5.0 / 4, rel=1e-9)


def test_explain_sees_all_positives_of_an_id() -> None:
    x, y = pair(4, 6)
    explanation = SigLIPLoss(bias=-1.0).double().explain(x, y, torch.tensor([0, 1, 1, 0]))
    (force,) = explanation.forces
    assert [sorted(force.positives(i)) for i in range(4)] == [[0, 3], [1, 2], [1, 2], [0, 3]]


@pytest.mark.parametrize("ids", [torch.arange(3), torch.zeros(9, 1, dtype=torch.long), torch.zeros(9)])
def test_bad_ids_are_refused(ids: Tensor) -> None:
    from inspect import unwrap

    x, y = pair(9, 6)
    with pytest.raises(ValueError, match=r"ids must be one integer per row, \(9,\)"):
        unwrap(SigLIPLoss.forward)(SigLIPLoss(), x, y, ids)
