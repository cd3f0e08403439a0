"""SupReMix: mixtures as a naive tensor of all of them has it, its weights, and anchors without positives."""

from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
from torch import Tensor

from counterpoint.losses import SupConLoss, SupReMixLoss
from fixtures.vectors import F64, unit, views

NUMBERS = torch.tensor([1.0, 3.0, 2.0, 2.0, 5.0, 1.0], dtype=F64)


def test_without_mixtures_and_weights_it_is_supcon_of_numbers() -> None:
    z = views(2, 6, 4)
    plain = SupReMixLoss(0.2, share=0.0, mixes=0, weight=0.0)
    expected = SupConLoss(0.2)(*z, labels=NUMBERS.long())
    torch.testing.assert_close(plain(*z, labels=NUMBERS), expected, rtol=1e-12, atol=0)


def test_mixed_positives_lie_on_either_side_say_number_of_anchor() -> None:
    loss = SupReMixLoss(mixes=400, window=2.5)
    place = torch.arange(len(NUMBERS))
    low, high, positives = loss.mixtures(NUMBERS, place)
    assert positives.tolist() == [1, 400, 401, 401, 0, 1]  # of 5 nothing lies above, of 1 nothing below
    for i in (1, 2, 3):
        pairs = {(int(j), int(k)) for j, k in zip(low[i], high[i], strict=True)}
        below = {j for j in range(6) if NUMBERS[i] - 2.5 < NUMBERS[j] < NUMBERS[i]}
        above = {k for k in range(6) if NUMBERS[i] < NUMBERS[k] < NUMBERS[i] + 2.5}
        assert pairs == {(j, k) for j in below for k in above}


def test_many_draws_come_to_all_mixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    z, at, tau = unit(6, 4), 2, 0.5
    every = [
        ((NUMBERS[k] - 2) * z[j] + (2 - NUMBERS[j]) * z[k]) / (NUMBERS[k] - NUMBERS[j])
        for j in (0, 5)
        for k in (1, 4)
    ]
    s = torch.stack([z[at] @ m for m in every]) / tau
    others = torch.tensor([0, 1, 3, 4, 5])
    real = z[others] @ z[at] / tau
    weights = (NUMBERS[others] - 2).abs() + 1
    count = 4000
    total = (weights * real.exp()).sum() + count * s.exp().mean()
    own = real[2]  # the other one at 2
    expected = total.log() - (own + count * s.mean()) / (count + 1)
    loss, found = SupReMixLoss(tau, share=0.0, mixes=count), []
    of_rows = loss.of_rows
    monkeypatch.setattr(loss, "of_rows", lambda *given: found.append(of_rows(*given)) or found[-1])
    loss(z, labels=NUMBERS)
    assert float(found[-1][at]) == pytest.approx(float(expected), rel=0.01)


def test_mixtures_carry_no_gradient_and_the_anchor_does() -> None:
    z = unit(3, 4).requires_grad_()
    numbers = torch.tensor([1.0, 2.0, 3.0], dtype=F64)
    loss = SupReMixLoss(share=0.0, mixes=4, weight=0.0)(z, labels=numbers)  # of the middle one alone
    (gradient,) = torch.autograd.grad(loss, z)
    s = z.detach()[1] @ z.detach().T / 0.07
    # The two others are moved as real negatives and not as parts of the mixture.
    v = (s[0] + s[2]) / 2
    p = torch.stack([s[0], s[2], v + math.log(4)]).softmax(0)
    torch.testing.assert_close(gradient[0], p[0] * z.detach()[1] / 0.07, rtol=1e-10, atol=1e-12)


def test_a_shift_of_all_similarities_cancels() -> None:
    # A constant coordinate adds the same to real and to mixed similarities, as long as they share a maximum.
    z, extra = unit(6, 4), torch.full((6, 1), 3.0, dtype=F64)
    loss = SupReMixLoss(0.5).double()  # its shares, too
    shifted = loss(torch.cat([z, extra], 1), labels=NUMBERS)
    torch.testing.assert_close(shifted, loss(z, labels=NUMBERS), rtol=1e-12, atol=0)


def test_whole_numbers_are_numbers() -> None:
    z, loss = unit(6, 4), SupReMixLoss()
    assert torch.equal(loss(z, labels=NUMBERS.long()), loss(z, labels=NUMBERS))


def test_no_positives_at_all_give_0_without_a_gradient() -> None:
    for labels in (torch.tensor([1.0, 2.0]), torch.tensor([torch.nan, torch.nan])):
        z = unit(2, 4).requires_grad_()
        loss = SupReMixLoss()(z, labels=labels)
        (gradient,) = torch.autograd.grad(loss, z)
        assert loss.item() == 0.0
        assert not gradient.any()


def test_numbers_that_are_never_equal_are_rounded() -> None:
    z, numbers = unit(6, 4), NUMBERS + torch.linspace(-0.04, 0.04, 6, dtype=F64)
    rounded = SupReMixLoss(0.2, resolution=1.0)(z, labels=numbers)
    torch.testing.assert_close(rounded, SupReMixLoss(0.2)(z, labels=NUMBERS), rtol=1e-12, atol=0)


@pytest.mark.parametrize("labels", [torch.zeros(5), torch.zeros(6, 1)])
def test_bad_labels_are_refused(labels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"labels must be one number per row, \(6,\)"):
        unwrap(SupReMixLoss.forward)(SupReMixLoss(), unit(6, 4), labels=labels)
