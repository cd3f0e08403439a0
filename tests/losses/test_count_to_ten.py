"""The counting loss: a two-way softmax over own captions, on the examples that state a count."""

from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import CountToTenLoss, InfoNCELoss
from fixtures.vectors import F64


def triple(n: int = 7, d: int = 5) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [F.normalize(torch.randn(n, d, generator=g, dtype=F64), dim=-1).requires_grad_() for _ in range(3)]


def test_adds_a_two_way_softmax_over_the_counting_examples() -> None:
    image, text, wrong = triple()
    counting = torch.tensor([1, 0, 0, 1, 0, 1, 0]).bool()
    choices = torch.stack([(image * text).sum(1), (image * wrong).sum(1)], 1)[counting] / 0.1
    two_way = F.cross_entropy(choices, torch.zeros(3, dtype=torch.long))
    loss = CountToTenLoss(0.4, temperature=0.1)(image, text, wrong, counting=counting)
    torch.testing.assert_close(loss, InfoNCELoss(0.1)(image, text) + 0.4 * two_way, rtol=1e-12, atol=0)


def test_an_equal_caption_costs_log_2() -> None:
    image, text, _ = triple()
    extra = CountToTenLoss(temperature=0.1)(image, text, text) - InfoNCELoss(0.1)(image, text)
    assert extra.item() == pytest.approx(math.log(2), rel=1e-10)


def test_a_counterfactual_is_a_negative_of_its_own_image_alone() -> None:
    image, text, wrong = triple()
    counting = torch.arange(7) != 2
    (grad,) = torch.autograd.grad(
        CountToTenLoss(temperature=0.1)(image, text, wrong, counting=counting), wrong
    )
    along = (grad * image).sum(1, keepdim=True) * image
    torch.testing.assert_close(grad, along.detach())  # a pull along its image and nothing else
    assert grad[2].eq(0).all()
    assert (grad[counting] * image[counting]).sum(1).gt(0).all()


@pytest.mark.parametrize(("gap", "cost"), [(0.5, math.exp(-50)), (-0.5, 50.0), (-2.0, 200.0)])
def test_saturates_without_overflow_at_the_scale_of_clip(gap: float, cost: float) -> None:
    image = torch.tensor([[1.0, 0.0]])
    right, wrong = (torch.tensor([[c, math.sqrt(1 - c * c)]]) for c in (gap / 2, -gap / 2))
    loss = CountToTenLoss(temperature=0.01)(image, right, wrong)  # InfoNCE of a single pair is 0
    assert loss.item() == pytest.approx(cost, rel=1e-4, abs=1e-6)


def test_temperature_and_bounds_are_those_of_clip() -> None:
    objective = CountToTenLoss()
    assert objective.infonce.temperature.value.item() == pytest.approx(0.07)
    assert objective.infonce.temperature.bounds == (0.01, 1.0)
    assert len(list(objective.parameters())) == 1


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"counting must be one per row, \(7,\), got \(6,\)"):
        unwrap(CountToTenLoss.forward)(CountToTenLoss(), *triple(), counting=torch.ones(6, dtype=torch.bool))
